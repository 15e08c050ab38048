"""How nodes go down, come back, fail and are replaced."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure, TaskOutcome
from snakemake_executor_azurebatch.emulator.model import AllocationFault

from .conftest import ENDED

START_TASK = {"commandLine": "x", "maxTaskRetryCount": 1, "waitForSuccess": True}


def _outcome(world, exit_code, failure=None):
    return TaskOutcome(exit_code, world.now, world.now, failure)


def _with_start_task(world, *, nodes=1, **options):
    pool = world.add_pool(nodes=nodes)
    pool.wire["startTask"] = {**START_TASK, **options}
    world.settle()
    return world.nodes()


def _end_start_task(world, exit_code, failure=None):
    [run] = world.take(instructions.RunStartTask)
    world.feed(events.StartTaskEnded(run.pool_key, run.node_id, run.boot, _outcome(world, exit_code, failure)))


def _running(world, count=1, **options):
    """Tasks that run on the pool's first node."""
    tasks = world.add_tasks(world.add_job(), *[f"t{number}" for number in range(count)], **options)
    world.started()
    return tasks


# -- start tasks ----------------------------------------------------------------------------------


def test_a_node_waits_for_its_start_task(world):
    [node] = _with_start_task(world)
    assert node.wire["state"] == "waitingforstarttask"
    assert node.wire["startTaskInfo"]["state"] == "running"
    job = world.add_job()
    [task] = world.add_tasks(job, "a")
    assert task.state == "active"
    _end_start_task(world, 0)
    assert (node.wire["startTaskInfo"]["result"], node.wire["startTaskInfo"]["exitCode"]) == ("success", 0)
    assert (node.wire["state"], task.state) == ("running", "running")


def test_a_start_task_is_retried_then_has_failed(world):
    [node] = _with_start_task(world)
    _end_start_task(world, 3)
    info = node.wire["startTaskInfo"]
    assert (info["state"], info["retryCount"], "lastRetryTime" in info) == ("running", 1, True)
    _end_start_task(world, 3)
    assert (info["state"], info["result"], info["exitCode"]) == ("completed", "failure", 3)
    assert node.wire["state"] == "starttaskfailed"
    assert node.free_slots == 0


def test_trouble_before_the_start_task_is_not_retried(world):
    [node] = _with_start_task(world)
    _end_start_task(world, None, TaskFailure("usererror", "BlobNotFound", "gone", (("FilePath", "x"),)))
    assert node.wire["state"] == "starttaskfailed"
    assert node.wire["startTaskInfo"]["failureInfo"] == {
        "category": "usererror",
        "code": "BlobNotFound",
        "message": "gone",
        "details": [{"name": "FilePath", "value": "x"}],
    }


def test_unlimited_retries(world):
    [node] = _with_start_task(world, maxTaskRetryCount=-1)
    for _ in range(5):
        _end_start_task(world, 1)
    assert node.wire["startTaskInfo"]["retryCount"] == 5


def test_tasks_may_run_beside_a_start_task_that_nobody_waits_for(world):
    [node] = _with_start_task(world, waitForSuccess=False, maxTaskRetryCount=0)
    [task] = world.add_tasks(world.add_job(), "a")
    assert task.state == "running"
    _end_start_task(world, 1)
    assert (node.wire["state"], node.wire["startTaskInfo"]["result"]) == ("running", "failure")


def test_a_start_task_given_later_runs_after_a_reboot(ready):
    [node] = ready.nodes()
    ready.state.pools["p"].wire["startTask"] = dict(START_TASK)
    assert "startTask" not in node.wire
    ready.feed(events.NodeRestarted("p", node.id, "reboot"))
    ready.settle()
    assert node.wire["startTask"] == START_TASK
    _end_start_task(ready, 0)
    assert node.wire["state"] == "idle"
    del ready.state.pools["p"].wire["startTask"]
    ready.feed(events.NodeRestarted("p", node.id, "reboot"))
    ready.settle()
    assert (node.wire["state"], "startTask" in node.wire) == ("idle", False)


def test_the_end_of_a_start_task_of_an_earlier_boot_is_ignored(world):
    [node] = _with_start_task(world, waitForSuccess=False)
    [run] = world.take(instructions.RunStartTask)
    world.feed(events.NodeRestarted("p", node.id, "reboot"))
    world.settle()
    world.feed(events.StartTaskEnded("p", node.id, run.boot, _outcome(world, None, ENDED)))
    assert node.wire["startTaskInfo"]["state"] == "running"


# -- restarts and scheduling ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "shown", "instruction"),
    [("reboot", "rebooting", "reboot"), ("reimage", "reimaging", "reimage")],
)
def test_restarts_are_seen_and_end(ready, how, shown, instruction):
    [node] = ready.nodes()
    before = node.boot
    ready.feed(events.NodeRestarted("p", node.id, how))
    assert node.wire["state"] == shown
    [boot] = ready.take(instructions.BootNode)
    assert (boot.how, boot.boot) == (instruction, before + 1)
    ready.feed(events.NodeReady("p", node.id, before))  # of the boot before
    assert node.wire["state"] == shown
    ready.feed(events.NodeStarting("p", node.id, boot.boot))
    ready.feed(events.NodeReady("p", node.id, boot.boot))
    assert node.wire["state"] == "idle"


@pytest.mark.parametrize(("option", "state"), [("requeue", "active"), ("terminate", "completed")])
def test_a_restart_treats_running_tasks_as_asked(ready, option, state):
    [node] = ready.nodes()
    [task] = _running(ready)
    ready.feed(events.NodeRestarted("p", node.id, "reboot", option))
    assert ready.take(instructions.BootNode) == []
    [stop] = ready.take(instructions.StopRun)
    ready.end(stop.run, None, ENDED)
    assert task.state == state
    assert [boot.how for boot in ready.take(instructions.BootNode)] == ["reboot"]


@pytest.mark.parametrize("option", ["taskcompletion", "retaineddata"])
def test_a_restart_can_wait_for_tasks(ready, option):
    [node] = ready.nodes()
    first, second, waiting = _running(ready, 3)
    ready.feed(events.NodeRestarted("p", node.id, "reimage", option))
    assert ready.take(instructions.StopRun) == []
    ready.end(first.run)
    assert (node.wire["state"], waiting.state) == ("reimaging", "active")
    ready.end(second.run)
    ready.settle()
    assert waiting.state == "running"


def test_deallocate_and_start(ready):
    [node] = ready.nodes()
    ready.feed(events.NodeRestarted("p", node.id, "deallocate"))
    assert node.wire["state"] == "deallocating"
    [stop] = ready.take(instructions.StopNode)
    ready.feed(events.NodeStopped("p", node.id, stop.boot))
    assert node.wire["state"] == "deallocated"
    ready.feed(events.NodeStarted("p", node.id))
    assert node.wire["state"] == "starting"
    [boot] = ready.take(instructions.BootNode)
    assert boot.how == "start"
    ready.feed(events.NodeReady("p", node.id, boot.boot))
    assert node.wire["state"] == "idle"


def test_a_disabled_node_is_offline_once_its_tasks_have_ended(ready):
    [node] = ready.nodes()
    running, second, waiting = _running(ready, 3)
    ready.feed(events.NodeSchedulingSet("p", node.id, is_enabled=False, option="taskcompletion"))
    assert node.wire["state"] == "running"
    ready.end(running.run)
    ready.end(second.run)
    assert (node.wire["state"], node.wire["schedulingState"], waiting.state) == ("offline", "disabled", "active")
    ready.feed(events.NodeSchedulingSet("p", node.id, is_enabled=True))
    assert (node.wire["state"], waiting.state) == ("running", "running")


def test_a_node_stays_disabled_over_a_reboot(ready):
    [node] = ready.nodes()
    [task] = _running(ready)
    ready.feed(events.NodeSchedulingSet("p", node.id, is_enabled=False, option="taskcompletion"))
    ready.feed(events.NodeRestarted("p", node.id, "reboot", "taskcompletion"))
    ready.end(task.run)
    ready.settle()
    assert node.wire["state"] == "offline"


def test_a_rebooting_node_can_leave(ready):
    [node] = ready.nodes()
    ready.feed(events.NodeRestarted("p", node.id, "reboot"))
    ready.feed(events.PoolResized("p", 0, 0))
    assert node.wire["state"] == "leavingpool"
    ready.settle()
    assert ready.nodes() == []


# -- failures -------------------------------------------------------------------------------------


def test_a_preempted_node_gives_its_tasks_back_and_returns(world):
    world.add_pool(nodes=0, low=1)
    world.settle()
    [node] = world.nodes()
    [task] = _running(world)
    world.feed(events.NodePreempted("p", node.id))
    assert (node.wire["state"], world.state.pools["p"].wire["currentLowPriorityNodes"]) == ("preempted", 1)
    [stop] = world.take(instructions.StopRun)
    assert [stop.is_sudden for stop in world.take(instructions.StopNode)] == [True]
    world.settle()  # time to return, but the run has not ended yet
    assert node.wire["state"] == "preempted"
    world.end(stop.run, None, ENDED)
    assert (task.state, task.wire["executionInfo"]["requeueCount"]) == ("active", 1)
    [boot] = [entry for entry in world.todo if isinstance(entry, instructions.BootNode)]
    assert boot.how == "reimage"
    world.settle()
    assert (node.wire["state"], task.state) == ("running", "running")


def test_a_dedicated_node_is_not_preempted(ready):
    [node] = ready.nodes()
    ready.feed(events.NodePreempted("p", node.id))
    assert node.wire["state"] == "idle"


def test_a_preempted_node_returns_when_there_is_capacity_again(world):
    world.add_pool(nodes=1, low=1)
    world.settle()
    dedicated, node = world.nodes()
    world.feed(events.AllocationFaultSet("*", AllocationFault("AllocationFailed", is_low_priority_only=True)))
    world.feed(events.NodePreempted("p", node.id))
    world.settle()
    assert (dedicated.wire["state"], node.wire["state"]) == ("idle", "preempted")
    world.feed(events.AllocationFaultSet("*", None))
    world.settle()
    assert node.wire["state"] == "idle"


def test_a_lost_node_is_replaced(ready):
    [node] = ready.nodes()
    [task] = _running(ready)
    ready.feed(events.NodeLost("p", node.id))
    assert node.wire["state"] == "unknown"
    [stop] = ready.take(instructions.StopRun)
    ready.end(stop.run, None, ENDED)
    assert task.state == "active"
    ready.settle()
    [another] = ready.nodes()
    assert another.id != node.id
    assert (task.state, task.wire["nodeInfo"]["nodeId"]) == ("running", another.id)
    assert ready.state.pools["p"].wire["allocationState"] == "steady"


def test_a_lost_node_can_be_removed_and_is_not_replaced_then(ready):
    [node] = ready.nodes()
    ready.feed(events.NodeLost("p", node.id))
    ready.feed(events.NodesRemoved("p", [node.id]))
    ready.settle()
    assert ready.nodes() == []


def test_an_unusable_node_shows_why_and_takes_nothing(ready):
    [node] = ready.nodes()
    [task] = _running(ready)
    ready.feed(events.NodeUnusable("p", node.id, "DiskFull", "no space"))
    assert node.wire["errors"] == [{"code": "DiskFull", "message": "no space"}]
    [stop] = ready.take(instructions.StopRun)
    ready.end(stop.run, None, ENDED)
    ready.settle()
    assert (node.wire["state"], task.state) == ("unusable", "active")


def test_a_node_that_is_lost_while_it_boots_does_not_come_up(world):
    world.add_pool(nodes=0, low=1)
    [later] = world.take(instructions.Later)
    world.feed(later.event)
    [boot] = world.take(instructions.BootNode)
    [node] = world.nodes()
    world.feed(events.NodePreempted("p", node.id))
    world.feed(events.NodeReady("p", node.id, boot.boot))
    assert node.wire["state"] == "preempted"


@pytest.mark.parametrize("event", [events.NodePreempted, events.NodeLost, events.NodeUnusable])
def test_events_of_nodes_that_are_gone_or_going_are_ignored(world, event):
    world.add_pool(nodes=0, low=1)
    world.settle()
    [node] = world.nodes()
    world.feed(events.PoolDeleted("p"))
    world.feed(event("p", node.id))
    assert node.wire["state"] == "leavingpool"
    world.settle()
    world.feed(event("p", node.id))
    assert world.state.pools == {}
