"""Disabling, enabling, moving and ending jobs."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions

from .conftest import ENDED


def _state(job):
    return job.state, job.wire["previousState"]


@pytest.mark.parametrize(("option", "state", "requeues"), [("requeue", "active", 1), ("terminate", "completed", 0)])
def test_disabling_ends_running_tasks(ready, option, state, requeues):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobDisabled("j", option))
    ready.settle()
    assert _state(job) == ("disabling", "active")
    [stop] = ready.take(instructions.StopRun)
    ready.end(stop.run, None, ENDED)
    assert _state(job) == ("disabled", "disabling")
    assert (task.state, task.wire["executionInfo"]["requeueCount"]) == (state, requeues)


def test_disabling_can_wait_for_running_tasks(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.add_tasks(job, "big", slots=2)
    ready.feed(events.JobDisabled("j", "wait"))
    ready.settle()
    assert (job.state, ready.take(instructions.StopRun)) == ("disabling", [])
    ready.started()
    ready.end(task.run)
    assert (job.state, ready.started()) == ("disabled", [])


def test_a_disabled_job_takes_tasks_and_starts_them_when_it_is_enabled(ready):
    job = ready.add_job()
    ready.feed(events.JobDisabled("j", "requeue"))
    ready.settle()
    ready.add_tasks(job, "a")
    assert ready.started() == []
    ready.feed(events.JobEnabled("j"))
    assert (_state(job), ready.started()) == (("enabling", "disabled"), [])
    ready.settle()
    assert (_state(job), ready.started()) == (("active", "enabling"), ["a"])


def test_a_disabled_job_can_be_moved(ready):
    ready.add_pool("q")
    ready.settle()
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobDisabled("j", "requeue"))
    ready.end(task.run, None, ENDED)
    ready.settle()
    ready.feed(events.JobMoved("j", "Q"))
    ready.feed(events.JobEnabled("j"))
    ready.settle()
    assert task.wire["nodeInfo"]["poolId"] == "q"
    assert job.wire["executionInfo"]["poolId"] == "Q"
    assert ready.state.jobs_of_pool["p"] == {}


def test_the_wall_clock_runs_on_while_a_job_is_disabled(ready):
    job = ready.add_job(wall_clock="PT10S")
    ready.feed(events.JobDisabled("j", "requeue"))
    ready.settle()
    ready.pass_time(seconds=11)
    assert (job.state, job.wire["executionInfo"]["terminateReason"]) == ("completed", "MaxWallClockTimeExpiry")


def test_a_disabled_job_with_all_tasks_complete_ends_once_enabled(ready):
    job = ready.add_job(onAllTasksComplete="terminatejob")
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobDisabled("j", "wait"))
    ready.end(task.run)
    ready.settle()
    assert job.state == "disabled"
    ready.feed(events.JobEnabled("j"))
    ready.settle()
    assert (job.state, job.wire["executionInfo"]["terminateReason"]) == ("completed", "AllTasksComplete")


def test_a_forced_end_waits_for_no_node(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobTerminated("j", is_forced=True))
    ready.settle()
    assert (job.state, task.state) == ("completed", "running")
    ready.end(task.run, None, ENDED)
    assert (task.state, ready.state.runs) == ("completed", {})


def test_a_forced_deletion_waits_for_no_node_and_spares_the_next_job_of_that_id(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    run = task.run
    ready.feed(events.JobDeleted("j", is_forced=True))
    ready.settle()
    assert ready.state.jobs == {}
    ready.started()
    [again] = ready.add_tasks(ready.add_job(), "a")
    assert (again.state, ready.started()) == ("active", [])  # its former self is still on the node
    ready.end(run, None, ENDED)
    assert (again.state, ready.nodes()[0].used_slots) == ("running", 1)


def test_a_terminating_job_can_be_deleted_by_force(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a")
    ready.feed(events.JobTerminated("j"))
    ready.settle()
    assert job.state == "terminating"
    ready.feed(events.JobDeleted("j", is_forced=True))
    ready.settle()
    assert ready.state.jobs == {}


def test_a_manager_task_has_a_node_for_itself_and_ends_its_job(world):
    world.add_pool(nodes=1, slots=2)
    world.settle()
    other = world.add_job("other")
    [running] = world.add_tasks(other, "a")
    job = world.add_job(jobManagerTask={"id": "m", "commandLine": "x"})
    manager = job.tasks["m"]
    assert manager.state == "active"  # the node is not free
    world.end(running.run)
    world.add_tasks(other, "b")
    assert (manager.state, other.tasks["b"].state) == ("running", "active")
    [more] = world.add_tasks(job, "t")
    world.end(manager.run)
    assert job.wire["executionInfo"]["terminateReason"] == "JMComplete"
    world.settle()
    assert (job.state, more.state) == ("completed", "active")


def test_a_manager_task_can_share_its_node_and_leave_its_job_alone(ready):
    job = ready.add_job(
        jobManagerTask={"id": "m", "commandLine": "x", "runExclusive": False, "killJobOnCompletion": False}
    )
    [task] = ready.add_tasks(job, "t")
    assert (job.tasks["m"].state, task.state) == ("running", "running")
    ready.end(job.tasks["m"].run, 1)
    assert job.state == "active"


def test_a_manager_task_can_insist_on_dedicated_nodes(world):
    world.add_pool(nodes=0, low=1)
    world.settle()
    job = world.add_job(jobManagerTask={"id": "m", "commandLine": "x", "allowLowPriorityNode": False})
    [task] = world.add_tasks(job, "t")
    assert (job.tasks["m"].state, task.state) == ("active", "running")
    anywhere = world.add_job("k", jobManagerTask={"id": "m", "commandLine": "x"})
    world.end(task.run)
    assert anywhere.tasks["m"].state == "running"


def test_affinity_prefers_a_node(world):
    world.add_pool(nodes=3, slots=2)
    world.settle()
    last = world.nodes()[2]
    affinity = {"affinityId": last.wire["affinityId"]}
    job = world.add_job()
    tasks = world.add_tasks(job, "a", "b", "c", affinityInfo=affinity)
    places = [task.run.node_id for task in tasks]
    assert places[:2] == [last.id, last.id]
    assert places[2] != last.id


def test_a_deletion_can_be_forced_later(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a")
    ready.feed(events.JobDeleted("j"))
    ready.feed(events.JobDeleted("j", is_forced=True))
    assert _state(job) == ("deleting", "active")
    ready.settle()
    assert ready.state.jobs == {}
