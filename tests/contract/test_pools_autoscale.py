"""Automatic scaling: settings, evaluations by the service's clock, and their limits."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import Bench, code_of, pool, refusal, running_service, task, values_of, wait_until

PENDING = (
    "p = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 3);"
    "$TargetDedicatedNodes = p < 70 ? 1 : min(3, avg($PendingTasks.GetSample(TimeInterval_Minute * 3)));"
    "$NodeDeallocationOption = taskcompletion;"
)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory):
    """A client of a service whose clock the tests move on."""
    timings = Timings(boot_s=0.02, resize_s=0.02, restart_s=0.02, replace_s=0.02)
    with running_service(tmp_path_factory.mktemp("clocked"), timings) as running, running.client() as client:
        yield client


def _advance(batch, seconds):
    batch.send_request(HttpRequest("POST", "/_admin/clock", json={"advanceSeconds": seconds}))


def _scaling(name, formula, **options):
    """A pool that scales automatically."""
    wanted = pool(name)
    wanted.target_dedicated_nodes = None
    wanted.enable_auto_scale = True
    wanted.auto_scale_formula = formula
    for attribute, value in options.items():
        setattr(wanted, attribute, value)
    return wanted


def _enable(batch, name, **options):
    batch.enable_pool_auto_scale(name, m.BatchPoolEnableAutoScaleOptions(**options))


def _steady(batch, name, nodes):
    def holds():
        found = batch.get_pool(name)
        return (found.allocation_state.value, found.current_dedicated_nodes) == ("steady", nodes)

    wait_until(holds)
    return batch.get_pool(name)


def test_a_pool_made_to_scale_is_evaluated_at_once(clocked, name):
    clocked.create_pool(_scaling(name, "$TargetDedicatedNodes=2;"))
    found = _steady(clocked, name, 2).as_dict()
    assert (found["enableAutoScale"], found["autoScaleEvaluationInterval"]) == (True, "PT15M")
    assert (found["targetDedicatedNodes"], found["targetLowPriorityNodes"]) == (2, 0)
    assert found["autoScaleRun"]["results"] == (
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    )
    assert "error" not in found["autoScaleRun"]


def test_a_pool_follows_its_pending_tasks(clocked, name):
    clocked.create_pool(_scaling(name, PENDING, auto_scale_evaluation_interval="PT5M"))
    clocked.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    _steady(clocked, name, 1)
    clocked.create_tasks(name, [task(f"t{n}", "exec sleep 600") for n in range(5)])
    wait_until(lambda: clocked.get_job_task_counts(name).task_counts.running == 1)
    _advance(clocked, 31)
    first = clocked.get_pool(name).auto_scale_run.timestamp
    assert clocked.get_pool(name).target_dedicated_nodes == 1
    _advance(clocked, 270)
    wait_until(lambda: clocked.get_pool(name).auto_scale_run.timestamp > first)
    found = _steady(clocked, name, 3)
    assert found.auto_scale_run.error is None
    clocked.begin_delete_job(name, polling_interval=0.02).result()


def test_enabling_disabling_and_what_is_shown(clocked, name):
    clocked.create_pool(pool(name, nodes=0))
    before = _steady(clocked, name, 0)
    _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=1;", auto_scale_evaluation_interval="PT06M00S")
    found = _steady(clocked, name, 1)
    assert found.etag != before.etag
    assert found.as_dict()["autoScaleEvaluationInterval"] == "PT6M"
    with pytest.raises(ResourceExistsError) as refused:
        clocked.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=4))
    assert code_of(refused) == "OperationInvalidForCurrentState"
    clocked.disable_pool_auto_scale(name)
    shown = clocked.get_pool(name).as_dict()
    assert (shown["enableAutoScale"], shown["currentDedicatedNodes"]) == (False, 1)
    assert {"autoScaleFormula", "autoScaleEvaluationInterval", "autoScaleRun"}.isdisjoint(shown)
    clocked.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=0), polling_interval=0.02).result()


def test_one_change_in_30_seconds(clocked, name):
    clocked.create_pool(pool(name, nodes=0))
    _steady(clocked, name, 0)
    _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=0;")
    with pytest.raises(HttpResponseError) as refused:
        _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=1;")
    assert refusal(refused) == (503, "TooManyEnableAutoScaleRequests")
    _advance(clocked, 30)
    _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=1;")


def test_the_interval_given_again_restarts_the_schedule(clocked, name):
    clocked.create_pool(_scaling(name, "$TargetDedicatedNodes=0;"))
    _steady(clocked, name, 0)
    _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=1;")  # the next evaluation is in 15 minutes
    assert clocked.get_pool(name).target_dedicated_nodes == 0
    _advance(clocked, 31)
    _enable(clocked, name, auto_scale_evaluation_interval="PT5M")  # now, then in 5 minutes
    _steady(clocked, name, 1)
    _advance(clocked, 31)
    _enable(clocked, name, auto_scale_formula="$TargetDedicatedNodes=2;")
    assert clocked.get_pool(name).target_dedicated_nodes == 1
    _advance(clocked, 270)
    _steady(clocked, name, 2)


def test_a_resizing_pool_cannot_be_made_to_scale(frozen, name):
    frozen.create_pool(pool(name))
    with pytest.raises(ResourceExistsError) as refused:
        _enable(frozen, name, auto_scale_formula="$TargetDedicatedNodes=1;")
    assert code_of(refused) == "PoolBeingResized"


def test_nodes_of_a_formula_leave_as_it_says(clocked, name):
    formula = "$TargetDedicatedNodes = {}; $NodeDeallocationOption = taskcompletion;"
    clocked.create_pool(_scaling(name, formula.format(1), auto_scale_evaluation_interval="PT5M"))
    clocked.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    bench = Bench(clocked, name)
    bench.add("t", "exec sleep 600")
    bench.wait_for("t", "running")
    _enable(clocked, name, auto_scale_formula=formula.format(0), auto_scale_evaluation_interval="PT5M")
    assert [node.state for node in clocked.list_nodes(name)] == ["leavingpool"]
    assert bench.state("t") == "running"
    clocked.terminate_task(name, "t")
    _steady(clocked, name, 0)


@pytest.mark.parametrize(
    ("formula", "status"),
    [
        ("$TargetDedicatedNodes = ", "AutoScalingFormulaSyntaxError"),
        ("$TargetDedicatedNodes = $nothing;", "InvalidAutoScalingSettings"),
        ("$TargetDedicatedNodes = 0;" + " " * 9000, "AutoScalingFormulaTooLong"),
    ],
)
def test_bad_formulas_are_refused(clocked, name, formula, status):
    with pytest.raises(HttpResponseError) as refused:
        clocked.create_pool(_scaling(name, formula))
    assert refusal(refused) == (400, status)
    clocked.create_pool(pool(name, nodes=0))
    _steady(clocked, name, 0)
    with pytest.raises(HttpResponseError) as refused:
        _enable(clocked, name, auto_scale_formula=formula)
    assert refusal(refused) == (400, status)


@pytest.mark.parametrize("interval", ["PT4M59S", "P7DT1S"])
def test_intervals_have_limits(clocked, name, interval):
    with pytest.raises(HttpResponseError) as refused:
        clocked.create_pool(_scaling(name, "$TargetDedicatedNodes=0;", auto_scale_evaluation_interval=interval))
    assert (code_of(refused), values_of(refused)["PropertyName"]) == (
        "InvalidPropertyValue",
        "autoScaleEvaluationInterval",
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"auto_scale_formula": None}, "MissingRequiredProperty"),
        ({"target_dedicated_nodes": 1}, "InvalidPropertyValue"),
        ({"enable_auto_scale": False}, "InvalidPropertyValue"),
    ],
)
def test_settings_that_do_not_go_together(clocked, name, options, code):
    with pytest.raises(HttpResponseError) as refused:
        clocked.create_pool(_scaling(name, "$TargetDedicatedNodes=0;", **options))
    assert refusal(refused) == (400, code)


def test_enabling_needs_a_formula_the_first_time(clocked, name):
    clocked.create_pool(pool(name, nodes=0))
    _steady(clocked, name, 0)
    with pytest.raises(HttpResponseError) as refused:
        _enable(clocked, name, auto_scale_evaluation_interval="PT5M")
    assert refusal(refused) == (400, "MissingRequiredProperty")


def test_evaluating_changes_nothing(clocked, name):
    clocked.create_pool(_scaling(name, "$TargetDedicatedNodes=0;"))
    before = _steady(clocked, name, 0)
    evaluate = m.BatchPoolEvaluateAutoScaleOptions
    found = clocked.evaluate_pool_auto_scale(name, evaluate(auto_scale_formula="$TargetDedicatedNodes=3;"))
    assert found.results == "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert found.error is None
    bad = clocked.evaluate_pool_auto_scale(name, evaluate(auto_scale_formula="$something_useless"))
    assert bad.results == "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert (bad.error.code, bad.error.message) == (
        "AutoScalingFormulaEvaluationError",
        "The specified auto-scaling formula has evaluation error",
    )
    assert bad.error.as_dict()["values"] == [
        {"name": "Message", "value": "Line 1, Col 1: Undefined symbol: $something_useless"}
    ]
    after = clocked.get_pool(name)
    assert (after.etag, after.target_dedicated_nodes) == (before.etag, 0)
    clocked.disable_pool_auto_scale(name)
    with pytest.raises(ResourceExistsError) as refused:
        clocked.evaluate_pool_auto_scale(name, evaluate(auto_scale_formula="$TargetDedicatedNodes=3;"))
    assert code_of(refused) == "OperationInvalidForCurrentState"
