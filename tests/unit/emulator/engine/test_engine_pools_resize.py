"""Resizes that are stopped, time out, or do not get their nodes."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.model import AllocationFault

from .conftest import ENDED


def _errors(world):
    return [error["code"] for error in world.state.pools["p"].wire.get("resizeErrors", ())]


def _state(world):
    wire = world.state.pools["p"].wire
    return wire["allocationState"], wire["targetDedicatedNodes"], wire["currentDedicatedNodes"]


def test_a_stopped_resize_keeps_the_targets(ready):
    ready.feed(events.PoolResized("p", 5, 0))
    ready.feed(events.PoolResizeStopped("p"))
    assert _state(ready) == ("stopping", 5, 1)
    ready.settle()
    assert (_state(ready), _errors(ready)) == (("steady", 5, 1), ["ResizeStopped"])
    ready.feed(events.PoolResized("p", 2, 0))
    assert _errors(ready) == []
    ready.settle()
    assert (_state(ready), _errors(ready)) == (("steady", 2, 2), [])


def test_a_stopped_resize_lets_busy_nodes_stay(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.PoolResized("p", 0, 0, "taskcompletion"))
    ready.feed(events.PoolResizeStopped("p"))
    ready.settle()
    [node] = ready.nodes()
    assert (node.wire["state"], _state(ready)) == ("running", ("steady", 0, 1))
    ready.end(task.run)
    assert node.wire["state"] == "idle"


def test_a_resize_that_waits_for_tasks_too_long_gives_up(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    ready.feed(events.PoolResized("p", 0, 0, "taskcompletion"))
    ready.settle()
    [after] = ready.take(instructions.After)
    assert 899 < after.delay_s <= 900
    assert _state(ready)[0] == "resizing"
    ready.feed(after.event)
    assert (_state(ready), _errors(ready)) == (("steady", 0, 1), ["RemoveNodesFailed"])
    assert task.state == "running"


def test_a_quick_resize_has_no_timer(ready):
    ready.feed(events.PoolResized("p", 3, 0))
    ready.settle()
    assert ready.take(instructions.After) == []


@pytest.mark.parametrize(
    "code", ["AllocationFailed", "AccountCoreQuotaReached", "AccountLowPriorityCoreQuotaReached", "Unknown"]
)
def test_a_resize_that_gets_no_nodes_says_so(ready, code):
    ready.feed(events.AllocationFaultSet("p", AllocationFault(code, limit=2)))
    ready.feed(events.PoolResized("p", 4, 0))
    ready.settle()
    assert (_state(ready), _errors(ready)) == (("steady", 4, 2), [code])
    ready.feed(events.AllocationFaultSet("p", None))
    ready.feed(events.PoolResized("p", 4, 0))
    ready.settle()
    assert (_state(ready), _errors(ready)) == (("steady", 4, 4), [])


def test_a_resize_that_hangs_times_out(ready):
    ready.feed(events.AllocationFaultSet("*", AllocationFault("AllocationTimedout", limit=2)))
    ready.feed(events.PoolResized("p", 4, 1))
    ready.settle()
    assert _state(ready) == ("resizing", 4, 2)
    [after] = ready.take(instructions.After)
    ready.feed(after.event)
    assert (_state(ready), _errors(ready)) == (("steady", 4, 2), ["AllocationTimedout"] * 2)
    messages = [error["message"] for error in ready.state.pools["p"].wire["resizeErrors"]]
    assert messages == [
        "Desired number of dedicated nodes could not be allocated as the resize timeout was reached",
        "Desired number of low-priority nodes could not be allocated as the resize timeout was reached",
    ]


def test_only_low_priority_nodes_may_be_short(ready):
    fault = AllocationFault("AllocationFailed", "no spot capacity", is_low_priority_only=True)
    ready.feed(events.AllocationFaultSet("p", fault))
    ready.feed(events.PoolResized("p", 2, 2))
    ready.settle()
    wire = ready.state.pools["p"].wire
    assert (wire["currentDedicatedNodes"], wire["currentLowPriorityNodes"]) == (2, 0)
    assert wire["resizeErrors"] == [{"code": "AllocationFailed", "message": "no spot capacity"}]


def test_the_timer_of_an_earlier_resize_means_nothing(ready):
    ready.feed(events.AllocationFaultSet("p", AllocationFault("AllocationTimedout")))
    ready.feed(events.PoolResized("p", 2, 0))
    ready.settle()
    [after] = ready.take(instructions.After)
    ready.feed(events.PoolResizeStopped("p"))
    ready.settle()
    ready.feed(events.AllocationFaultSet("p", None))
    ready.feed(events.PoolResized("p", 3, 0))
    ready.feed(after.event)
    assert _state(ready)[0] == "resizing"
    ready.settle()
    assert _state(ready) == ("steady", 3, 3)


def test_removed_nodes_are_not_replaced(ready):
    ready.feed(events.PoolResized("p", 3, 0))
    ready.settle()
    first, second, third = ready.nodes()
    ready.feed(events.NodesRemoved("p", [first.id, third.id]))
    assert _state(ready) == ("resizing", 1, 3)
    assert [node.wire["state"] for node in (first, second, third)] == ["leavingpool", "idle", "leavingpool"]
    ready.settle()
    assert (ready.nodes(), _state(ready)) == ([second], ("steady", 1, 1))


@pytest.mark.parametrize(("option", "stops"), [("requeue", 1), ("terminate", 1), ("taskcompletion", 0)])
def test_removing_a_node_treats_its_tasks_as_asked(ready, option, stops):
    [task] = ready.add_tasks(ready.add_job(), "a")
    [node] = ready.nodes()
    ready.feed(events.NodesRemoved("p", [node.id], option))
    assert len(ready.take(instructions.StopRun)) == stops
    if stops:
        ready.end(task.run, None, ENDED)
    else:
        ready.end(task.run)
    ready.settle()
    assert ready.nodes() == []


def test_a_pool_that_stops_resizing_can_be_deleted(ready):
    ready.feed(events.PoolResized("p", 5, 0))
    ready.feed(events.PoolResizeStopped("p"))
    ready.feed(events.PoolDeleted("p"))
    ready.settle()
    assert ready.state.pools == {}
