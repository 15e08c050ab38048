"""Every function: values, lists, arguments that do not fit."""

import pytest

from snakemake_executor_azurebatch.emulator.autoscale import evaluate
from tests.unit.emulator.autoscale.support import context, refusal, shown


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("avg(1, 2, 6)", "3"),
        ("avg(vec(1, 2), 6)", "3"),
        ("len()", "0"),
        ("len(vec(1, 2), 3, vec())", "3"),
        ("max(1, vec(7, 2))", "7"),
        ("max(0, vec())", "0"),
        ("min(1, vec(7, 2))", "1"),
        ("norm(3, 4)", "5"),
        ("norm()", "0"),
        ("range(vec(4, 9), 2)", "7"),
        ("std(2, 4, 4, 4, 5, 5, 7, 9)", "2.13809"),
        ("std(5)", "0"),
        ("sum(1, vec(2, 3))", "6"),
        ("sum()", "0"),
        ("lg(8)", "3"),
        ("lg(vec(8))", "[3]"),
        ("lg(2, 4)", "[1,2]"),
        ("ln(1)", "0"),
        ("ln(vec(1, 0))", "[0,-inf]"),
        ("log(1000)", "3"),
        ("log(-1)", "nan"),
        ("log(vec(10), 100)", "[1,2]"),
        ("ceil(1.2)", "2"),
        ("ceil(-1.2)", "-1"),
        ("ceil(vec(0.1, 3))", "[1,3]"),
        ("ceil(1 / 0)", "inf"),
        ("floor(1.8)", "1"),
        ("floor(-1.2)", "-2"),
        ("floor(1.2, 2.2)", "[1,2]"),
        ("round(0.5)", "1"),
        ("round(1.5)", "2"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.4)", "2"),
        ("round(vec(0.4, 0.6))", "[0,1]"),
        ("percentile(vec(15, 20, 35, 40, 50), 0)", "15"),
        ("percentile(vec(15, 20, 35, 40, 50), 30)", "20"),
        ("percentile(vec(50, 40, 35, 20, 15), 50)", "35"),
        ("percentile(vec(15, 20, 35, 40, 50), 100)", "50"),
        ("val(vec(5, 6, 7), 0)", "5"),
        ("val(vec(5, 6, 7), 2.9)", "7"),
        ("vec(1, vec(2, 3))", "[1,2,3]"),
        ("time()", "2025-03-19T18:29:54.039Z"),
        ('time("")', "2025-03-19T18:29:54.039Z"),
        ('time("2024")', "2024-01-01T00:00:00.000Z"),
        ('time("2024-05")', "2024-05-01T00:00:00.000Z"),
        ('time("2024-05-06")', "2024-05-06T00:00:00.000Z"),
        ('time("2024-05-06T07:08Z")', "2024-05-06T07:08:00.000Z"),
        ('time("2024-05-06T07:08:09Z")', "2024-05-06T07:08:09.000Z"),
        ('time("2024-05-06T07:08:09.5Z")', "2024-05-06T07:08:09.500Z"),
        ('time("2024-05-06T07:08:09.1234567Z")', "2024-05-06T07:08:09.123Z"),
        ('time("2024-05-06T07:08:09+02:30")', "2024-05-06T04:38:09.000Z"),
        ('time("2024-05-06T23:30:00-01:00")', "2024-05-07T00:30:00.000Z"),
        ('time("Mon, 06 May 2024 07:08:09 GMT")', "2024-05-06T07:08:09.000Z"),
    ],
)
def test_values(expression, value):
    assert shown(expression) == value


@pytest.mark.parametrize("name", ["avg", "max", "min", "range", "std"])
def test_nothing_has_no_extremes(name):
    assert refusal(f"x = {name}(vec())")[1] == f"Line 1, Col {len(name) + 5}: There are no values"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("rand(1)", "Col 5: Function rand does not take 1 arguments"),
        ("lg()", "Col 5: Function lg does not take 0 arguments"),
        ("time(1, 2)", "Col 5: Function time does not take 2 arguments"),
        ("val(1)", "Col 5: Function val does not take 1 arguments"),
        ("percentile(vec(1), 2, 3)", "Col 5: Function percentile does not take 3 arguments"),
        ("avg(TimeInterval_Hour)", "Col 8: Function avg does not take a timeinterval"),
        ("lg(time())", "Col 7: Function lg does not take a timestamp"),
        ('sum("a")', "Col 8: Function sum does not take a string"),
        ("time(5)", "Col 9: Function time does not take a double"),
        ("val(1, 2)", "Col 8: Function val does not take double and double"),
        ("val(vec(1), vec(0))", "Col 8: Function val does not take doubleVec and doubleVec"),
        ("val(vec(1), 1)", "Col 8: Index 1 is out of range: the vector has 1 elements"),
        ("val(vec(1), -1)", "Col 8: Index -1 is out of range: the vector has 1 elements"),
        ("val(vec(1), 0 / 0)", "Col 8: Index nan is out of range: the vector has 1 elements"),
        ("percentile(vec(1), 101)", "Col 15: A percentile is from 0 to 100, not 101"),
        ("percentile(vec(), 50)", "Col 15: There are no values"),
        ("median(1)", "Col 5: Undefined symbol: median"),
    ],
)
def test_refused_arguments(call, text):
    assert refusal(f"x = {call}") == ("AutoScalingFormulaEvaluationError", f"Line 1, {text}")


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2024-13-01",
        "2024-02-30",
        "2024-05-06T07:08:09",  # no time zone
        "2024-05-06 07:08:09Z",
        "2024-05-06T07:08:09.123456789Z",
        "2024-05-06T07:08:09+24:00",
        "24-05-06",
        "0000",
        "Mon, 06 May 2024 07:08:09 CET",
        "Mon, 31 Jun 2024 07:08:09 GMT",
    ],
)
def test_refused_times(text):
    assert refusal(f'x = time("{text}")')[1] == f"Line 1, Col 9: Invalid time: {text}"


def test_random_numbers_come_from_the_context():
    first = evaluate("a = rand(); b = rand(); ok = a >= 0 && a < 1", context()).variables
    assert first == evaluate("a = rand(); b = rand(); ok = a >= 0 && a < 1", context()).variables
    assert dict(first)["a"] != dict(first)["b"]
    assert dict(first)["ok"] == "1"


def test_stop_keeps_what_was_set():
    evaluation = evaluate("$TargetDedicatedNodes = 4; x = 1 ? stop() : 0; $TargetDedicatedNodes = 9", context())
    assert evaluation.error is None
    assert evaluation.target_dedicated == 4
    assert evaluation.variables == ()
