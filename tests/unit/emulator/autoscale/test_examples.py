"""Formulas in the spirit of the documented examples: what they are for, they do."""

from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.emulator.autoscale import SampleStore, check, evaluate
from tests.unit.emulator.autoscale.support import NOW, context, refusal, sampled

BY_DEMAND = """
first = 1; most = 25;
share = $PendingTasks.GetSamplePercent(3 * TimeInterval_Minute);
wanted = share < 70 ? first : avg($PendingTasks.GetSample(3 * TimeInterval_Minute));
$TargetDedicatedNodes = min(most, wanted);
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("pending", "nodes"),
    [([], 1), ([8], 1), ([8, 8], 1), ([0] * 7, 0), ([4] * 7, 4), ([0, 1, 2, 3, 4, 5, 6, 7], 4), ([90] * 9, 25)],
)
def test_nodes_follow_the_pending_tasks(pending, nodes):
    evaluation = evaluate(BY_DEMAND, context(samples=sampled("$PendingTasks", pending)))
    assert evaluation.error is None
    assert evaluation.target_dedicated == nodes
    assert evaluation.node_deallocation_option == "taskcompletion"


@pytest.mark.parametrize(("preempted", "dedicated"), [(0, 0), (3, 3), (30, 10)])
def test_preempted_nodes_are_replaced(preempted, dedicated):
    formula = """
    size = 10;
    $TargetDedicatedNodes = min(size, $PreemptedNodeCount.GetSample(TimeInterval_Minute * 3));
    $TargetLowPriorityNodes = size - $TargetDedicatedNodes;
    """
    evaluation = evaluate(formula, context(samples=sampled("$PreemptedNodeCount", [preempted] * 10)))
    assert (evaluation.target_dedicated, evaluation.target_low_priority) == (dedicated, 10 - dedicated)


@pytest.mark.parametrize(
    ("moment", "nodes"),
    [("2025-03-19T07:59", 2), ("2025-03-19T08:00", 12), ("2025-03-19T17:59", 12), ("2025-03-22T12:00", 2)],
)
def test_nodes_follow_the_office_hours(moment, nodes):
    formula = """
    $here = time();
    $open = $here.hour >= 8 && $here.hour < 18;
    $workday = $here.weekday >= 1 && $here.weekday <= 5;
    $TargetDedicatedNodes = $open && $workday ? 12 : 2;
    """
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert evaluate(formula, context(now=now)).target_dedicated == nodes


def test_a_time_zone_is_an_offset():
    formula = "$here = time() + (-6 * TimeInterval_Hour); $TargetDedicatedNodes = $here.hour"
    assert evaluate(formula, context()).target_dedicated == 12


@pytest.mark.parametrize(
    ("tasks", "nodes"), [([0] * 40, 3), ([6] * 40, 6), ([2] * 39 + [9, 9], 9), ([50] * 40, 20), ([5], 3)]
)
def test_the_pool_halves_when_nothing_waits(tasks, nodes):
    formula = """
    $share = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 15);
    $tasks = $share < 70 ? max(0, $PendingTasks.GetSample(1))
                         : max($PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 15)));
    $nodes = $tasks > 0 ? $tasks : max(0, $TargetDedicatedNodes / 2);
    $TargetDedicatedNodes = max(0, min($nodes, 20));
    """
    given = context(target_dedicated=7, samples=sampled("$PendingTasks", tasks))
    assert evaluate(formula, given).target_dedicated == nodes


@pytest.mark.parametrize(("active", "nodes"), [(0, 2), (8, 2), (9, 3), (13, 4), (400, 6)])
def test_parallel_tasks_share_nodes(active, nodes):
    formula = """
    $waiting = max($ActiveTasks.GetSample(1));
    $more = ($waiting - $TargetDedicatedNodes * $TaskSlotsPerNode + 3) / $TaskSlotsPerNode;
    $TargetDedicatedNodes = min(6, $TargetDedicatedNodes + max(0, $more));
    """
    given = context(samples=sampled("$ActiveTasks", [active] * 5), current={"$TaskSlotsPerNode": 4})
    assert evaluate(formula, given).target_dedicated == nodes


@pytest.mark.parametrize(
    ("age_min", "running", "nodes"), [(5, 0, 4), (9, 3, 4), (15, 3, 2), (15, 0, 0), (90, 0, 0), (90, 1, 2)]
)
def test_an_initial_size_is_kept_for_a_while(age_min, running, nodes):
    born = (NOW - timedelta(minutes=age_min)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    formula = f"""
    age = time() - time("{born}");
    span = TimeInterval_Minute * 10;
    busy = age > span ? max($RunningTasks.GetSample(span, 50), $ActiveTasks.GetSample(span, 50)) : 1;
    $TargetDedicatedNodes = age <= span ? 4 : (busy == 0 ? 0 : $TargetDedicatedNodes);
    """
    store = SampleStore()
    for number in range(age_min * 2):
        at = NOW - timedelta(minutes=age_min) + (number + 1) * timedelta(seconds=30)
        store.record(at, {"$RunningTasks": running, "$ActiveTasks": 0})
    evaluation = evaluate(formula, context(samples=store))
    assert evaluation.error is None
    assert evaluation.target_dedicated == nodes


def test_a_formula_by_processor_use_fails_since_the_metric_is_gone():
    formula = """
    $nodes = min($CPUPercent.GetSample(TimeInterval_Minute * 10)) > 0.7
        ? $CurrentDedicatedNodes * 1.1 : $CurrentDedicatedNodes;
    $TargetDedicatedNodes = min(400, $nodes)
    """
    assert check(formula) == ()
    assert refusal(formula)[0] == "InsufficientSampleData"


@pytest.mark.parametrize(
    ("left_min", "pending", "nodes"), [(10, 0, 4), (10, 9, 5), (-10, 9, 5), (-10, 2, 2), (-10, 0, 0)]
)
def test_a_lease_keeps_nodes_until_it_ends(left_min, pending, nodes):
    end = (NOW + timedelta(minutes=left_min)).strftime("%Y-%m-%dT%H:%M:%SZ")
    formula = f"""
    leased = time() < time("{end}") ? 4 : 0;
    waiting = max(0, $PendingTasks.GetSample(1));
    $TargetDedicatedNodes = min(5, max(leased, waiting));
    $NodeDeallocationOption = taskcompletion;
    """
    evaluation = evaluate(formula, context(samples=sampled("$PendingTasks", [pending] * 3)))
    assert evaluation.target_dedicated == nodes


def test_a_published_run_comes_out_alike():
    formula = """
    $share = $ActiveTasks.GetSamplePercent(TimeInterval_Minute * 15);
    $tasks = $share < 70 ? 1 : avg($ActiveTasks.GetSample(TimeInterval_Minute * 15));
    $nodes = $tasks > 0 ? $tasks : $TargetDedicatedNodes / 2;
    most = 3;
    $TargetDedicatedNodes = max(1, min($nodes, most));
    $NodeDeallocationOption = taskcompletion;
    """
    store = sampled("$ActiveTasks", [0] * 60)
    assert evaluate(formula, context(target_dedicated=1, target_low_priority=0, samples=store)).results == (
        "$TargetDedicatedNodes=1;$TargetLowPriorityNodes=0;$NodeDeallocationOption=taskcompletion"
        ";$nodes=0.5;$share=96.6667;$tasks=0;most=3"
    )
