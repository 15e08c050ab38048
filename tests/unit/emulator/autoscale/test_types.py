"""The whole table of types: what is in it works, everything else is refused."""

import math
from itertools import product

import pytest

from tests.unit.emulator.autoscale.support import refusal, shown

D, V, S, T, I = "double", "doubleVec", "string", "timestamp", "timeinterval"  # noqa: E741 - read as a table
EXAMPLES = {D: "2", V: "vec(1, 2)", S: '"a"', T: 'time("2020-01-01")', I: "TimeInterval_Minute"}
COMPARISONS = ("<", "<=", "==", ">=", ">", "!=")

RESULTS = {
    **{(D, sign, D): "double" for sign in ("+", "-", "*", "/", "&&", "||", *COMPARISONS)},
    **{(V, sign, kind): "doubleVec" for sign in "+-*/" for kind in (D, V)},
    **{(kind, sign, kind): "double" for kind in (S, T, I) for sign in COMPARISONS},
    (D, "*", I): I,
    (I, "*", D): I,
    (I, "/", D): I,
    (I, "+", I): I,
    (I, "-", I): I,
    (I, "+", T): T,
    (T, "+", I): T,
    (T, "-", T): I,
}
PROBES = {  # an expression that only works for the type
    D: "!({})",
    V: "val({}, 0)",
    S: '({}) == "a"',
    T: "({}).year",
    I: "({}) / 1",
}


@pytest.mark.parametrize("left", EXAMPLES)
@pytest.mark.parametrize("right", EXAMPLES)
def test_binary_operators(left, right):
    for sign in ("+", "-", "*", "/", "&&", "||", *COMPARISONS):
        expression = f"{EXAMPLES[left]} {sign} {EXAMPLES[right]}"
        result = RESULTS.get((left, sign, right))
        if result is None:
            code, detail = refusal(f"x = {expression}")
            assert code == "AutoScalingFormulaEvaluationError"
            assert "cannot be applied" in detail
        else:
            shown(PROBES[result].format(expression))


@pytest.mark.parametrize(("sign", "kind"), list(product("-!", EXAMPLES)))
def test_unary_operators(sign, kind):
    if (sign, kind) in {("-", D), ("!", D), ("-", I)}:
        shown(f"{sign}{EXAMPLES[kind]}")
    else:
        at = "Line 1, Col 5"
        assert refusal(f"x = {sign}{EXAMPLES[kind]}")[1] == f"{at}: Operator {sign} cannot be applied to {kind}"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 2 - 1", "4"),
        ("8 / 2 / 2", "2"),
        ("-2 * -3", "6"),
        ("--2", "2"),
        ("1 / 3", "0.333333"),
        ("2 / 3 * 145", "96.6667"),
        ("1000000 * 10", "1e+07"),
        ("1 / 0", "inf"),
        ("-1 / 0", "-inf"),
        ("1 / -0", "-inf"),
        ("0 / 0", "nan"),
        ("0 / 0 == 0 / 0", "0"),
        ("1 < 2", "1"),
        ("1 > 2", "0"),
        ("3 > 2 > 1", "0"),
        ("2 <= 2 && 2 >= 2", "1"),
        ("1 == 1 != 0", "1"),
        ("!0", "1"),
        ("!0.5", "0"),
        ("3 && 2", "1"),
        ("0 || 0", "0"),
        ("0 || 5", "1"),
        ("1 || 0 && 0", "1"),
        ("1 ? 2 : 3", "2"),
        ("0 ? 2 : 3", "3"),
        ("0 ? 1 : 0 ? 2 : 3", "3"),
        ("1 ? 0 ? 1 : 2 : 3", "2"),
        ("1 > 2 || 3 > 2 ? 4 : 5", "4"),
        ("0 / 0 ? 1 : 2", "1"),  # what is not a number is not zero
        ('1 ? "a" : 2', "a"),
        ('"a" < "b"', "1"),
        ('"it // is no comment"', "it // is no comment"),
        ("vec(1, 2) + 1", "[2,3]"),
        ("vec(1, 2) - vec(3, 5)", "[-2,-3]"),
        ("vec(1, 2) * 2.5", "[2.5,5]"),
        ("vec(1, 2) / vec(0, 4)", "[inf,0.5]"),
        ("vec()", "[]"),
        ("2 * TimeInterval_Hour", "02:00:00"),
        ("TimeInterval_Day * 1.5", "1.12:00:00"),
        ("TimeInterval_Minute / 4", "00:00:15"),
        ("-TimeInterval_Second", "-00:00:01"),
        ("TimeInterval_Week - TimeInterval_Day", "6.00:00:00"),
        ("TimeInterval_Year", "365.00:00:00"),
        ("TimeInterval_100ns + TimeInterval_Microsecond", "00:00:00.0000011"),
        ("TimeInterval_Millisecond", "00:00:00.0010000"),
        ("TimeInterval_Zero == TimeInterval_Hour - 60 * TimeInterval_Minute", "1"),
        ('time("2020-03-01") - time("2020-02-01")', "29.00:00:00"),
        ('time("2020-02-28") + TimeInterval_Day', "2020-02-29T00:00:00.000Z"),
        ('TimeInterval_Hour + time("2020-02-28")', "2020-02-28T01:00:00.000Z"),
        ('time("2020-02-28") < time("2020-02-29")', "1"),
    ],
)
def test_values(expression, value):
    assert shown(expression) == value


@pytest.mark.parametrize(
    ("member", "value"),
    [("year", 2025), ("month", 3), ("day", 19), ("weekday", 3), ("hour", 18), ("minute", 29), ("second", 54)],
)
def test_members_of_the_time_are_properties(member, value):
    assert shown(f"time().{member}") == str(value)
    assert refusal(f"x = time().{member}()")[1] == f"Line 1, Col 12: Undefined symbol: {member}"


@pytest.mark.parametrize(("day", "weekday"), [("2025-03-17", 1), ("2025-03-22", 6), ("2025-03-23", 0)])
def test_weekdays(day, weekday):
    assert shown(f'time("{day}").weekday') == str(weekday)


@pytest.mark.parametrize(
    "expression",
    [
        "TimeInterval_Year * 100000",
        "TimeInterval_Year / 0",
        "TimeInterval_Year * (0 / 0)",
        "time() + -3000 * TimeInterval_Year",
    ],
)
def test_times_are_bounded(expression):
    assert "is out of range" in refusal(f"x = {expression}")[1]


def test_vectors_of_different_length():
    assert refusal("x = vec(1, 2) + vec(1)")[1] == "Line 1, Col 15: Vectors of different length: 2 and 1"


def test_a_choice_needs_a_double_and_takes_one_side_only():
    assert refusal("x = vec(1) ? 2 : 3")[1] == "Line 1, Col 12: A double is needed where a doubleVec stands"
    assert shown("1 ? 2 : val(vec(), 9)") == "2"


def test_logic_evaluates_both_sides():
    assert "out of range" in refusal("x = 0 && val(vec(), 9)")[1]
    assert "out of range" in refusal("x = 1 || val(vec(), 9)")[1]


def test_numbers_are_doubles():
    assert float(shown("9007199254740993 - 9007199254740992")) == 0
    assert math.isinf(float(shown("9" * 308 + " * 10")))
