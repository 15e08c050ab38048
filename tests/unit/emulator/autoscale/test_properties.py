"""Whatever comes in, the only errors are the package's own; and arithmetic agrees with numpy's."""

import re
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_azurebatch.emulator.autoscale import check, evaluate
from tests.unit.emulator.autoscale.support import context, sampled

TOKENS = (
    *("+", "-", "*", "/", "<", "<=", "==", ">=", ">", "!=", "&&", "||", "!", "?", ":", "=", ";", "(", ")", ",", "."),
    *("$PendingTasks", "$TargetDedicatedNodes", "$TargetLowPriority", "$NodeDeallocationOption", "$CPUPercent"),
    *("TimeInterval_Minute", "TimeInterval_Year", "requeue", "x", "$y", "hour", "GetSample", "Count", "// \n", "\n"),
    *("avg", "lg", "max", "vec", "val", "percentile", "rand", "stop", "time", "floor", "std", "0", "1", "2.5", '"a"'),
)
STORE = sampled("$PendingTasks", [1, 2, 3, 4, 5])


def assert_sound(formula):
    evaluation = evaluate(formula, context(samples=STORE))
    problems = check(formula)
    for problem in (*problems, *([evaluation.error] if evaluation.error else [])):
        assert re.match(r"Line [1-9]\d*, Col [1-9]\d*: .", problem.detail)
        assert problem.message
    assert not problems or evaluation.error is not None
    return evaluation


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_sequence_of_tokens(tokens):
    assert_sound(" ".join(tokens))


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text(text):
    assert_sound(text)


def binary(operands, signs):
    return st.builds(lambda left, sign, right: f"({left} {sign} {right})", operands, st.sampled_from(signs), operands)


def functions(names, *arguments):
    call = st.builds(lambda *given: f"({', '.join(given)})", *arguments)
    return st.builds(lambda name, given: name + given, st.sampled_from(names), call)


_ATOMS = {
    "double": st.sampled_from(
        ["0", "1", "2.5", "70", "rand()", "$PendingTasks", "$TargetDedicatedNodes", "time().hour"]
    ),
    "vector": st.sampled_from(["vec()", "vec(1, 2)", "$PendingTasks.GetSample(2)", "$PendingTasks.GetSample(span)"]),
    "interval": st.sampled_from(["TimeInterval_Minute", "TimeInterval_Year", "span"]),
    "moment": st.sampled_from(["time()", 'time("2025-03-19")', 'time("9999-12-31")']),
}


@cache  # building the strategies anew for every example would take most of the time
def typed(kind, depth=3):
    """Expressions of a type, written so that only their values may be refused."""
    if depth == 0:
        return _ATOMS[kind]
    double, vector = typed("double", depth - 1), typed("vector", depth - 1)
    interval, moment = typed("interval", depth - 1), typed("moment", depth - 1)
    numbers = st.one_of(double, vector)
    rules = {
        "double": [
            binary(double, ("+", "-", "*", "/", "<", "<=", "==", ">=", ">", "!=", "&&", "||")),
            binary(interval, ("<", "==", ">=")),
            binary(moment, ("<=", "!=", ">")),
            functions(("avg", "len", "max", "min", "norm", "range", "std", "sum"), numbers, numbers),
            functions(("lg", "ln", "log", "ceil", "floor", "round"), double),
            functions(("val", "percentile"), vector, double),
            double.map("(-{})".format),
            double.map("(!{})".format),
            moment.map("{}.second".format),
            interval.map("$PendingTasks.GetSamplePercent({})".format),
        ],
        "vector": [
            st.builds("({} {} {})".format, vector, st.sampled_from("+-*/"), double),
            functions(("vec", "lg", "round"), vector, double),
            interval.map("$PendingTasks.GetSample({}, 10)".format),
        ],
        "interval": [
            binary(interval, "+-"),
            st.builds("({} * {})".format, double, interval),
            st.builds("({} {} {})".format, interval, st.sampled_from("*/"), double),
            st.builds("({} - {})".format, moment, moment),
        ],
        "moment": [st.builds("({} + {})".format, moment, interval), st.builds("({} + {})".format, interval, moment)],
    }
    same = {"double": double, "vector": vector, "interval": interval, "moment": moment}[kind]
    choice = st.builds("({} ? {} : {})".format, double, same, same)
    return st.one_of(_ATOMS[kind], choice, *rules[kind])


@settings(max_examples=150, deadline=None)
@given(st.one_of(*map(typed, _ATOMS)))
def test_well_typed_expressions_fail_by_value_only(expression):
    evaluation = assert_sound(f"span = TimeInterval_Minute * 1.5; x = {expression}")
    if evaluation.error is not None:
        by_value = "out of range|no values|A percentile is|Insufficient data"
        assert re.search(by_value, evaluation.error.detail), evaluation.error


@st.composite
def arithmetic(draw, depth=4):
    """An expression of doubles and what numpy makes of it."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        sixteenths = draw(st.integers(0, 16_000))
        return str(sixteenths / 16), np.float64(sixteenths / 16)
    left, left_value = draw(arithmetic(depth - 1))
    right, right_value = draw(arithmetic(depth - 1))
    sign = draw(st.sampled_from(["+", "-", "*", "/", "<", ">=", "==", "!=", "&&", "||", "?", "u-", "u!"]))
    with np.errstate(all="ignore"):
        match sign:
            case "?":
                return f"({left} ? {right} : 3)", right_value if left_value else np.float64(3)
            case "u-":
                return f"(-{left})", -left_value
            case "u!":
                return f"(!{left})", np.float64(left_value == 0)
            case _:
                apply = _NUMPY[sign]
                return f"({left} {sign} {right})", np.float64(apply(left_value, right_value))


_NUMPY = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "<": np.less,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "&&": np.logical_and,
    "||": np.logical_or,
}


@settings(max_examples=200, deadline=None)
@given(arithmetic())
def test_arithmetic_agrees_with_numpy(case):
    expression, expected = case
    evaluation = evaluate(f"x = {expression}", context())
    assert evaluation.error is None
    value = dict(evaluation.variables)["x"]
    assert value == f"{float(expected):g}" or (np.isnan(expected) and value.endswith("nan"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=12), st.integers(0, 100))
def test_functions_agree_with_numpy(values, percent):
    listed = f"vec({', '.join(map(str, values))})"
    formula = f"a = avg({listed}); b = std({listed}); c = norm({listed}); d = range({listed}); e = sum({listed})"
    variables = dict(evaluate(f"{formula}; f = percentile({listed}, {percent})", context()).variables)
    lower = np.percentile(values, percent, method="inverted_cdf")
    expected = [np.mean(values), np.std(values, ddof=1), np.linalg.norm(values), np.ptp(values), np.sum(values), lower]
    for name, reference in zip("abcdef", expected, strict=True):
        assert np.isclose(float(variables[name]), reference, rtol=1e-5, atol=1e-9), name
