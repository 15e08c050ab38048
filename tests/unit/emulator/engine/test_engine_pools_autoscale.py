"""Evaluations of a pool's formula by the clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snakemake_executor_azurebatch.emulator import engine_autoscale, events, instructions
from snakemake_executor_azurebatch.emulator.model import AllocationFault


def _scale(world, formula, interval="PT5M"):
    """A pool with one node that scales automatically from now on."""
    if "p" not in world.state.pools:
        world.add_pool(nodes=1)
        world.settle()
    pool = world.state.pools["p"]
    pool.wire.update(enableAutoScale=True, autoScaleFormula=formula, autoScaleEvaluationInterval=interval)
    world.feed(events.AutoScaleSet("p", is_restarted=True))
    return pool


def _timers(world, kind):
    """Takes and answers the timers of one kind."""
    found = [one for one in world.todo if isinstance(one, instructions.After) and isinstance(one.event, kind)]
    world.todo = [one for one in world.todo if one not in found]
    return found


def test_the_first_evaluation_is_at_once_and_the_next_after_the_interval(world):
    pool = _scale(world, "$TargetDedicatedNodes = 3;")
    assert (pool.wire["targetDedicatedNodes"], pool.wire["allocationState"]) == (3, "resizing")
    world.settle()
    assert pool.wire["currentDedicatedNodes"] == 3
    pool.wire["autoScaleFormula"] = "$TargetDedicatedNodes = 0;"
    [due] = _timers(world, events.AutoScaleDue)
    assert due.delay_s == 300
    world.feed(due.event)
    world.settle()
    assert pool.wire["currentDedicatedNodes"] == 0


def test_samples_are_taken_every_30_seconds_and_missed_ones_made_up_for(world):
    pool = _scale(world, "$TargetDedicatedNodes = 1;")
    assert len(pool.samples) == 1
    [due] = _timers(world, events.AutoScaleSampleDue)
    assert due.delay_s == 30
    world.now += timedelta(seconds=30)
    world.feed(due.event)
    assert len(pool.samples) == 2
    world.now += timedelta(minutes=10)
    world.feed(due.event)
    assert len(pool.samples) == 22
    times = [row[0] for row in pool.samples]
    assert times == sorted(times)


def test_what_formulas_look_at(world):
    world.add_pool(nodes=1, low=1, slots=2)
    world.settle()
    job = world.add_job()
    world.add_tasks(job, *"abcdef")
    world.end(job.tasks["a"].run, 0)
    world.end(job.tasks["b"].run, 1)
    found = engine_autoscale.metrics(world.state, world.state.pools["p"])
    assert found == {
        "$ActiveTasks": 0, "$RunningTasks": 4, "$SucceededTasks": 1, "$FailedTasks": 1, "$CurrentDedicatedNodes": 1,
        "$CurrentLowPriorityNodes": 1, "$PreemptedNodeCount": 0, "$SampleNodeCount": 2, "$UsableNodeCount": 2,
        "$TaskSlotsPerNode": 2,
    }  # fmt: skip


def test_an_error_changes_nothing(world):
    pool = _scale(world, "$TargetDedicatedNodes = $PendingTasks.GetSample(TimeInterval_Hour, 90);")
    assert pool.wire["autoScaleRun"]["error"]["code"] == "InsufficientSampleData"
    assert (pool.wire["targetDedicatedNodes"], pool.wire["allocationState"]) == (1, "steady")


def test_what_was_disabled_or_restarted_is_not_evaluated_by_old_timers(world):
    pool = _scale(world, "$TargetDedicatedNodes = 1;")
    [old] = _timers(world, events.AutoScaleDue)
    _scale(world, "$TargetDedicatedNodes = 1;")
    before = pool.wire["autoScaleRun"]
    assert world.feed(old.event) == []
    assert pool.wire["autoScaleRun"] is before
    [new] = _timers(world, events.AutoScaleDue)
    pool.wire["enableAutoScale"] = False
    world.feed(events.AutoScaleSet("p", is_restarted=False))
    assert (world.feed(new.event), pool.samples) == ([], [])


def test_an_evaluation_tries_again_to_get_nodes_that_were_not_to_be_had(world):
    world.feed(events.AllocationFaultSet("p", AllocationFault("AllocationFailed", limit=1)))
    pool = _scale(world, "$TargetDedicatedNodes = 3;")
    world.settle()
    assert [error["code"] for error in pool.wire["resizeErrors"]] == ["AllocationFailed"]
    world.feed(events.AllocationFaultSet("p", None))
    [due] = _timers(world, events.AutoScaleDue)
    world.feed(due.event)
    world.settle()
    assert (pool.wire["currentDedicatedNodes"], "resizeErrors" in pool.wire) == (3, False)


def test_the_option_of_the_formula_is_honoured(world):
    pool = _scale(world, "$TargetDedicatedNodes = 1;")
    [task] = world.add_tasks(world.add_job(), "a")
    world.take(instructions.StopRun)
    pool.wire["autoScaleFormula"] = "$TargetDedicatedNodes = 0; $NodeDeallocationOption = taskcompletion;"
    [due] = _timers(world, events.AutoScaleDue)
    world.feed(due.event)
    assert (world.take(instructions.StopRun), task.state) == ([], "running")
    assert [node.wire["state"] for node in world.nodes()] == ["leavingpool"]


@pytest.mark.parametrize("event", [events.AutoScaleDue("p", 1), events.AutoScaleSampleDue("p", 1)])
def test_timers_of_pools_that_are_gone_mean_nothing(world, event):
    assert world.feed(event) == []


def test_no_formula_makes_more_nodes_than_an_account_may_have(world):
    pool = _scale(world, "$TargetDedicatedNodes = 1000000;")
    assert pool.wire["targetDedicatedNodes"] == 1000
