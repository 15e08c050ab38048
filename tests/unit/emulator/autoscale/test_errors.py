"""Errors: codes, exact texts, places; and the form of the results."""

import pytest

from snakemake_executor_azurebatch.emulator.autoscale import check, evaluate
from tests.unit.emulator.autoscale.support import context, refusal

EVALUATION = "AutoScalingFormulaEvaluationError"
SYNTAX = "AutoScalingFormulaSyntaxError"
INVALID = "InvalidAutoScalingSettings"
TOO_LONG = "AutoScalingFormulaTooLong"


def test_a_recorded_success():
    evaluation = evaluate("$TargetDedicatedNodes=3", context(target_low_priority=0))
    assert evaluation.error is None
    assert evaluation.results == "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"


def test_a_recorded_error():
    evaluation = evaluate("$something_useless", context(target_low_priority=0))
    assert evaluation.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert evaluation.error.code == EVALUATION
    assert evaluation.error.message == "The specified auto-scaling formula has evaluation error"
    assert evaluation.error.values == (("Message", "Line 1, Col 1: Undefined symbol: $something_useless"),)


def test_variables_come_after_the_targets_by_name():
    formula = "b = 1; $d = 2 / 3; a = requeue; $c = vec(1, 2); $TargetLowPriority = 7; b = 5"
    assert evaluate(formula, context()).results == (
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=7;$NodeDeallocationOption=requeue"
        ";$c=[1,2];$d=0.666667;a=requeue;b=5"
    )


@pytest.mark.parametrize(
    ("formula", "code", "detail"),
    [
        ("", INVALID, "Line 1, Col 1: The formula is empty"),
        (" \n ", INVALID, "Line 1, Col 1: The formula is empty"),
        ("// nothing", SYNTAX, "Line 1, Col 11: Unexpected end of formula"),
        ("x =", SYNTAX, "Line 1, Col 4: Unexpected end of formula"),
        ("x = 1;\ny = (2", SYNTAX, "Line 2, Col 7: Unexpected end of formula"),
        ("x = 1 y = 2", SYNTAX, "Line 1, Col 7: Unexpected symbol: y"),
        ("x = 1.", SYNTAX, "Line 1, Col 7: Unexpected end of formula"),
        ("x = 1;;", SYNTAX, "Line 1, Col 7: Unexpected symbol: ;"),
        (";", SYNTAX, "Line 1, Col 1: Unexpected symbol: ;"),
        ("x == 1;\n  1 = x", SYNTAX, "Line 2, Col 5: Unexpected symbol: ="),
        ("x = 5 % 2", SYNTAX, "Line 1, Col 7: Unexpected character: %"),
        ("# comment", SYNTAX, "Line 1, Col 1: Unexpected character: #"),
        ("/* comment */", SYNTAX, "Line 1, Col 1: Unexpected symbol: /"),
        ("x = [1, 2]", SYNTAX, "Line 1, Col 5: Unexpected character: ["),
        ("x = 'a'", SYNTAX, "Line 1, Col 5: Unexpected character: '"),
        ('x = "a', SYNTAX, 'Line 1, Col 5: Unexpected character: "'),
        ("x = 1e3", SYNTAX, "Line 1, Col 6: Unexpected symbol: e3"),
        ("x = " + "9" * 400, SYNTAX, "Line 1, Col 5: The number is too large"),
        ("x = " + "-" * 200 + "1", SYNTAX, "Line 1, Col 154: The expression is nested too deeply"),
        ("y", INVALID, "Line 1, Col 1: Undefined symbol: y"),
        ("x = x", INVALID, "Line 1, Col 5: Undefined symbol: x"),
        ("x = 1;\n\n y = 2 * X", INVALID, "Line 3, Col 10: Undefined symbol: X"),
        ("x = $pendingTasks", INVALID, "Line 1, Col 5: Undefined symbol: $pendingTasks"),
        ("x = 1 ? 2 : nowhere", INVALID, "Line 1, Col 13: Undefined symbol: nowhere"),
        ("TargetDedicatedNodes = $Nodes", INVALID, "Line 1, Col 24: Undefined symbol: $Nodes"),
        ("$ActiveTasks = 3", INVALID, "Line 1, Col 1: Cannot assign to $ActiveTasks"),
        ("TimeInterval_Day = 3", INVALID, "Line 1, Col 1: Cannot assign to TimeInterval_Day"),
        ("requeue = 3", INVALID, "Line 1, Col 1: Cannot assign to requeue"),
        ("a" * 8193, TOO_LONG, "Line 1, Col 1: The formula has more than 8192 characters"),
        ("x = 1;\n" * 101, TOO_LONG, "Line 101, Col 1: The formula has more than 100 statements"),
    ],
)
def test_what_no_pool_may_get(formula, code, detail):
    (problem,) = check(formula)
    assert (problem.code, problem.detail) == (code, detail)
    assert refusal(formula) == (EVALUATION, detail)


def test_all_problems_come_at_once():
    assert [problem.detail for problem in check("a = b + c;\na = mean(d);")] == [
        "Line 1, Col 5: Undefined symbol: b",
        "Line 1, Col 9: Undefined symbol: c",
        "Line 2, Col 5: Undefined symbol: mean",
        "Line 2, Col 10: Undefined symbol: d",
    ]


@pytest.mark.parametrize(
    "formula",
    [
        "$TargetDedicatedNodes = 0",
        'x = 1;\r\n\t// a comment with ; and "\r\n$TargetDedicatedNodes = x // the end',
        "x = 1;" * 100,
        "x = " + "(" * 3000 + "1" + ")" * 3000,
        "x = " + "+".join(["1"] * 149),
        "max = 1; x = max(max, 2)",
        "// " + "a" * 8180 + "\nx=1",
    ],
)
def test_what_a_pool_may_get(formula):
    assert check(formula) == ()
    assert evaluate(formula, context()).error is None


@pytest.mark.parametrize(
    ("formula", "dedicated", "low_priority"),
    [
        ("x = 5", 2, 1),
        ("$TargetDedicatedNodes = 2.9", 2, 1),
        ("$TargetDedicatedNodes = -0.9", 0, 1),
        ("$TargetDedicated = 5", 5, 1),
        ("$TargetDedicatedNodes = 6; $TargetDedicated = 5", 6, 1),
        ("$TargetDedicated = 5; $TargetLowPriorityNodes = $TargetDedicatedNodes + 1", 5, 6),
        ("$TargetDedicatedNodes = 5; $TargetLowPriorityNodes = $TargetDedicated + 1", 5, 6),
        (
            "$TargetDedicatedNodes = $TargetDedicatedNodes / 4; $TargetLowPriorityNodes = $TargetDedicatedNodes * 4",
            0,
            2,
        ),
        ("$TargetDedicatedNodes = 6; $TargetDedicated = 5; $TargetLowPriority = $TargetDedicated", 6, 5),
        ("$TargetDedicatedNodes = -5; $TargetDedicatedNodes = 4", 4, 1),
        ("$TargetDedicatedNodes = 2147483647", 2147483647, 1),
        ("TargetDedicatedNodes = 9", 2, 1),
    ],
)
def test_targets(formula, dedicated, low_priority):
    evaluation = evaluate(formula, context())
    assert evaluation.error is None
    assert (evaluation.target_dedicated, evaluation.target_low_priority) == (dedicated, low_priority)


@pytest.mark.parametrize(
    ("formula", "detail"),
    [
        ("$TargetDedicatedNodes = -1", "Line 1, Col 1: Invalid value for $TargetDedicatedNodes: -1"),
        ("x = 1;\n $TargetLowPriority = 0 / 0", "Line 2, Col 2: Invalid value for $TargetLowPriority: nan"),
        ("$TargetDedicatedNodes = 1 / 0", "Line 1, Col 1: Invalid value for $TargetDedicatedNodes: inf"),
        ("$TargetDedicatedNodes = 2147483648", "Line 1, Col 1: Invalid value for $TargetDedicatedNodes: 2.14748e+09"),
        ("$TargetDedicatedNodes = vec(1)", "Line 1, Col 1: Cannot assign a doubleVec to $TargetDedicatedNodes"),
        ('$TargetDedicated = "1"', "Line 1, Col 1: Cannot assign a string to $TargetDedicated"),
        ("$NodeDeallocationOption = 1", "Line 1, Col 1: Invalid value for $NodeDeallocationOption: 1"),
        ('$NodeDeallocationOption = "later"', "Line 1, Col 1: Invalid value for $NodeDeallocationOption: later"),
    ],
)
def test_refused_targets(formula, detail):
    assert refusal(formula) == (EVALUATION, detail)


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion", "retaineddata"])
def test_deallocation_options(option):
    evaluation = evaluate(f"$NodeDeallocationOption = 1 ? {option} : requeue", context())
    assert evaluation.node_deallocation_option == option
    assert evaluation.results.endswith(f";$NodeDeallocationOption={option}")
    assert evaluate("x = $NodeDeallocationOption", context(node_deallocation_option=option)).results.endswith(
        f"$NodeDeallocationOption={option};x={option}"
    )


def test_an_error_takes_everything_back():
    evaluation = evaluate(
        "$TargetDedicatedNodes = 9; $NodeDeallocationOption = terminate; x = val(vec(), 0)",
        context(node_deallocation_option="taskcompletion"),
    )
    assert (
        evaluation.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=1;$NodeDeallocationOption=taskcompletion"
    )
