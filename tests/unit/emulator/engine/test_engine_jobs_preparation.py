"""Job preparation and release tasks."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions

from .conftest import ENDED

PREPARED = "jobPreparationTaskExecutionInfo"
RELEASED = "jobReleaseTaskExecutionInfo"


def _job(world, *, release=False, **preparation):
    body = {"commandLine": "x", **preparation}
    more = {"jobReleaseTask": {"commandLine": "y"}} if release else {}
    return world.add_job(jobPreparationTask=body, **more)


def _special(world):
    return [start.run for start in world.take(instructions.StartJobTask)]


def test_tasks_wait_for_the_preparation_of_their_node(ready):
    job = _job(ready)
    a, b, c = ready.add_tasks(job, "a", "b", "c")
    [run] = _special(ready)
    assert (run.kind, run.task_id, run.slots) == ("jobpreparation", "jobpreparation", 0)
    assert (a.state, b.state, c.state, ready.started()) == ("preparing", "preparing", "active", [])
    assert "startTime" not in a.wire["executionInfo"]
    ready.end(run)
    assert (a.state, a.wire["previousState"], ready.started()) == ("running", "preparing", ["a", "b"])
    ready.end(a.run)
    assert (c.state, _special(ready)) == ("running", [])  # once per node
    info = job.preparations[run.node_id].wire[PREPARED]
    assert (info["state"], info["result"], info["exitCode"], info["retryCount"]) == ("completed", "success", 0, 0)
    assert info["taskRootDirectory"] == "workitems/j/job-1/jobpreparation"


def test_a_failed_preparation_keeps_the_job_from_its_node(world):
    world.add_pool(nodes=2)
    world.settle()
    job = _job(world)
    [task] = world.add_tasks(job, "a")
    [run] = _special(world)
    world.end(run, 1)
    assert (task.state, task.run.node_id == run.node_id) == ("preparing", False)  # on the other node
    [other] = _special(world)
    world.end(other, 1)
    assert (task.state, "nodeInfo" in task.wire, job.state) == ("active", False, "active")
    assert task.wire["executionInfo"] == {"retryCount": 0, "requeueCount": 0}
    [stranger] = world.add_tasks(world.add_job("k"), "t")
    assert stranger.state == "running"


def test_a_preparation_is_retried(ready):
    job = _job(ready, constraints={"maxTaskRetryCount": 1})
    [task] = ready.add_tasks(job, "a")
    [first] = _special(ready)
    ready.end(first, 1)
    [second] = _special(ready)
    assert task.state == "preparing"
    ready.end(second)
    info = job.preparations[second.node_id].wire[PREPARED]
    assert (task.state, info["retryCount"], info["result"]) == ("running", 1, "success")


def test_tasks_need_not_wait_for_the_preparation(ready):
    job = _job(ready, waitForSuccess=False)
    [task] = ready.add_tasks(job, "a")
    [run] = _special(ready)
    assert task.state == "running"
    ready.end(run, 1)
    [more] = ready.add_tasks(job, "b")
    assert more.state == "running"


def test_a_preparing_task_can_be_terminated(ready):
    job = _job(ready)
    a, b = ready.add_tasks(job, "a", "b")
    ready.feed(events.TaskTerminated("j", "a"))
    ready.settle()
    assert (a.state, a.wire["executionInfo"]["failureInfo"]["code"]) == ("completed", "TaskEnded")
    [run] = _special(ready)
    ready.end(run)
    assert (b.state, ready.started()) == ("running", ["b"])


def test_a_preparing_task_can_be_deleted(ready):
    job = _job(ready)
    ready.add_tasks(job, "a")
    ready.feed(events.TaskDeleted("j", "a"))
    [run] = _special(ready)
    ready.end(run)  # before the deletion has arrived at the node
    ready.settle()
    assert (job.tasks, ready.started(), ready.nodes()[0].runs) == ({}, [], {})


def test_terminating_a_job_while_it_prepares(ready):
    job = _job(ready, release=True)
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobTerminated("j"))
    [run] = _special(ready)
    [stop] = ready.take(instructions.StopRun)
    assert stop.run is run
    ready.end(run, None, ENDED)
    ready.settle()
    assert (job.state, task.state) == ("completed", "completed")
    assert _special(ready) == []  # nothing was prepared that could be released


def test_the_release_task_runs_where_the_job_was_prepared(world):
    world.add_pool(nodes=3)
    world.settle()
    job = _job(world, release=True)
    a, b = world.add_tasks(job, "a", "b")
    for run in _special(world):
        world.end(run)
    world.end(a.run)
    world.feed(events.JobTerminated("j"))
    world.settle()
    assert _special(world) == []  # a task still ends
    places = {a.wire["nodeInfo"]["nodeId"], b.wire["nodeInfo"]["nodeId"]}
    world.end(b.run, None, ENDED)
    starts = world.take(instructions.StartJobTask)
    assert {start.run.node_id for start in starts} == places
    assert {start.body["constraints"]["maxWallClockTime"] for start in starts} == {"PT15M"}
    first, second = (start.run for start in starts)
    world.end(first, 1)
    assert job.state == "terminating"
    world.end(second, 0)
    assert job.state == "completed"  # whatever came of it
    info = job.preparations[first.node_id].wire[RELEASED]
    assert (info["state"], info["result"], info["failureInfo"]["code"]) == ("completed", "failure", "FailureExitCode")
    world.feed(events.JobDeleted("j"))
    world.settle()
    assert (world.state.jobs, _special(world)) == ({}, [])  # once only


def test_deleting_a_job_runs_the_release_task_and_removes_its_directories(ready):
    job = _job(ready, release=True)
    [task] = ready.add_tasks(job, "a")
    [run] = _special(ready)
    ready.end(run)
    ready.end(task.run)
    ready.feed(events.JobDeleted("j"))
    for later in ready.take(instructions.Later):
        ready.feed(later.event)
    [release] = _special(ready)
    ready.end(release)
    [removal] = ready.take(instructions.RemoveJobFiles)
    assert sorted(files.task_id for files in removal.files) == ["a", "jobpreparation", "jobrelease"]


def test_a_forced_end_runs_no_release_task(ready):
    job = _job(ready, release=True)
    ready.add_tasks(job, "a")
    [run] = _special(ready)
    ready.end(run)
    ready.feed(events.JobTerminated("j", is_forced=True))
    ready.settle()
    assert (job.state, _special(ready)) == ("completed", [])


def test_a_node_leaves_without_waiting_for_its_preparation(ready):
    job = _job(ready)
    [task] = ready.add_tasks(job, "a")
    [run] = _special(ready)
    ready.feed(events.PoolResized("p", 0, 0, "requeue"))
    [stop] = ready.take(instructions.StopRun)
    assert stop.run is run
    ready.end(run, None, ENDED)
    ready.settle()
    assert (ready.nodes(), task.state) == ([], "active")
    assert run.node_id in job.preparations  # nodes that are gone stay listed


@pytest.mark.parametrize(
    ("how", "rerun", "expected"), [("reboot", True, 1), ("reboot", False, 0), ("reimage", False, 1)]
)
def test_after_a_restart_of_the_node(ready, how, rerun, expected):
    job = _job(ready, rerunOnNodeRebootAfterSuccess=rerun)
    [task] = ready.add_tasks(job, "a")
    [run] = _special(ready)
    ready.end(run)
    ready.end(task.run)
    ready.feed(events.NodeRestarted("p", run.node_id, how))
    ready.settle()
    ready.add_tasks(job, "b")
    assert len(_special(ready)) == expected


def test_a_reboot_gives_a_failed_preparation_another_chance(ready):
    job = _job(ready, rerunOnNodeRebootAfterSuccess=False)
    [task] = ready.add_tasks(job, "a")
    [run] = _special(ready)
    ready.end(run, 1)
    assert task.state == "active"
    ready.feed(events.NodeRestarted("p", run.node_id, "reboot"))
    ready.settle()
    assert (task.state, len(_special(ready))) == ("preparing", 1)


def test_disabling_a_job_ends_preparing_tasks_and_lets_the_preparation_go_on(ready):
    job = _job(ready)
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.JobDisabled("j", "requeue"))
    ready.settle()
    assert (job.state, task.state, task.wire["executionInfo"]["requeueCount"]) == ("disabled", "active", 1)
    [run] = _special(ready)
    ready.end(run)
    ready.feed(events.JobEnabled("j"))
    ready.settle()
    assert (task.state, _special(ready)) == ("running", [])


def test_nodes_get_the_passwords_that_answers_do_not_show(ready):
    registry = {"registryServer": "r", "username": "u", "password": "a secret"}
    settings = {"imageName": "i", "registry": {"registryServer": "r", "username": "u"}}
    job = _job(ready, release=True, containerSettings=settings)
    job.registries["jobPreparationTask"] = registry
    ready.add_tasks(job, "a")
    [start] = ready.take(instructions.StartJobTask)
    assert start.body["containerSettings"] == {"imageName": "i", "registry": registry}
    assert "a secret" not in repr(job)
    assert job.wire["jobPreparationTask"]["containerSettings"] == settings
