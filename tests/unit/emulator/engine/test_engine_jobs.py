"""Jobs and tasks in the engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure

from .conftest import ENDED


def test_a_task_from_active_to_completed(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    [node] = ready.nodes()
    assert (task.state, task.wire["previousState"]) == ("running", "active")
    assert task.wire["nodeInfo"]["taskRootDirectory"] == "workitems/j/job-1/a"
    assert (node.wire["state"], node.wire["runningTasksCount"]) == ("running", 1)
    ready.end(task.run, 0)
    assert (task.state, task.wire["previousState"]) == ("completed", "running")
    assert task.wire["executionInfo"]["result"] == "success"
    assert (node.wire["state"], node.wire["totalTasksRun"], node.wire["totalTasksSucceeded"]) == ("idle", 1, 1)


def test_a_bare_non_zero_exit_gets_its_failure_info(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    ready.end(task.run, 4)
    info = task.wire["executionInfo"]
    assert (info["result"], info["exitCode"], info["failureInfo"]["code"]) == ("failure", 4, "FailureExitCode")


def test_a_failed_upload_is_a_failure_with_exit_code_0(ready):
    [task] = ready.add_tasks(ready.add_job(), "a", retries=5)
    ready.end(task.run, 0, TaskFailure("usererror", "FileUploadAccessDenied", "no"))
    info = task.wire["executionInfo"]
    assert (info["result"], info["exitCode"], info["retryCount"]) == ("failure", 0, 0)


def test_retries_until_they_are_used_up(ready):
    [task] = ready.add_tasks(ready.add_job(), "a", retries=2)
    for number in (1, 2):
        ready.end(task.run, 1)
        assert task.state == "running"  # again at once
        assert task.wire["executionInfo"]["retryCount"] == number
        assert "exitCode" not in task.wire["executionInfo"]
    ready.end(task.run, 1)
    assert task.state == "completed"


def test_minus_one_retries_for_ever(ready):
    [task] = ready.add_tasks(ready.add_job(), "a", retries=-1)
    for _ in range(50):
        ready.end(task.run, 1)
    assert (task.state, task.wire["executionInfo"]["retryCount"]) == ("running", 50)


def test_trouble_before_the_command_is_not_retried(ready):
    [task] = ready.add_tasks(ready.add_job(), "a", retries=5)
    ready.end(task.run, None, TaskFailure("usererror", "BlobNotFound", "no"))
    assert task.state == "completed"
    assert "exitCode" not in task.wire["executionInfo"]


def test_slots_are_filled_but_never_over(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a", "b", "c")
    assert ready.started() == ["a", "b"]
    ready.end(job.tasks["a"].run)
    assert ready.started() == ["c"]


def test_a_smaller_task_overtakes_one_that_does_not_fit(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a")
    ready.add_tasks(job, "big", slots=2)
    ready.add_tasks(job, "b")
    assert ready.started() == ["a", "b"]
    ready.end(job.tasks["a"].run)
    assert ready.started() == []
    ready.end(job.tasks["b"].run)
    assert ready.started() == ["big"]


@pytest.mark.parametrize(("fill", "expected"), [("Spread", [1, 1]), ("Pack", [2, 0])])
def test_fill_types(world, fill, expected):
    world.add_pool(nodes=2, slots=3, fill=fill)
    world.settle()
    world.add_tasks(world.add_job(), "a", "b")
    assert [node.used_slots for node in world.nodes()] == expected


def test_higher_priority_goes_first(ready):
    low, high = ready.add_job("low"), ready.add_job("high", priority=5)
    ready.add_tasks(low, "a", slots=2)
    ready.add_tasks(low, "b", slots=2)
    ready.add_tasks(high, "c", slots=2)
    assert ready.started() == ["a"]
    ready.end(low.tasks["a"].run)
    assert ready.started() == ["c"]


def test_max_parallel_tasks(ready):
    job = ready.add_job(limit=1)
    ready.add_tasks(job, "a", "b")
    assert ready.started() == ["a"]
    ready.end(job.tasks["a"].run)
    assert ready.started() == ["b"]


def test_terminating_a_running_task_waits_for_its_end(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", retries=3)
    ready.feed(events.TaskTerminated("j", "a"))
    ready.feed(events.TaskTerminated("j", "a"))
    [stop] = ready.take(instructions.StopRun)
    assert task.state == "running"
    ready.end(stop.run, 143, ENDED)
    assert (task.state, task.wire["executionInfo"]["retryCount"]) == ("completed", 0)


def test_a_task_that_is_requeued_and_then_terminated_does_not_come_back(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    ready.feed(events.PoolResized("p", 0, 0, "requeue"))
    ready.feed(events.TaskTerminated("j", "a"))
    [stop] = ready.take(instructions.StopRun)
    ready.end(stop.run, None, ENDED)
    assert task.state == "completed"


def test_a_task_that_is_terminated_and_then_requeued_does_not_come_back(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    ready.feed(events.TaskTerminated("j", "a"))
    ready.feed(events.PoolDeleted("p"))
    ready.end(task.run, None, ENDED)
    assert task.state == "completed"


def test_terminating_a_waiting_task_takes_it_from_the_queue(world):
    job = world.add_job()
    [task] = world.add_tasks(job, "a")
    world.feed(events.TaskTerminated("j", "a"))
    assert task.wire["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    world.add_pool()
    world.settle()
    assert world.started() == []


def test_deleting_a_running_task_frees_its_slots_at_its_end(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", slots=2)
    run = task.run
    ready.feed(events.TaskDeleted("j", "a"))
    assert job.tasks == {}
    assert ready.nodes()[0].used_slots == 2
    ready.started()
    ready.add_tasks(job, "b")
    assert ready.started() == []
    ready.end(run, None, ENDED)
    assert ready.take(instructions.RemoveTaskFiles) == [instructions.RemoveTaskFiles("p", run.node_id, "j", "a")]
    assert ready.started() == ["b"]


def test_a_task_made_again_does_not_run_beside_its_former_self(world):
    world.add_pool(nodes=1, slots=4)
    world.settle()
    job = world.add_job()
    [former] = world.add_tasks(job, "a")
    run = former.run
    world.feed(events.TaskDeleted("j", "a"))
    world.started()
    [task] = world.add_tasks(job, "A")
    world.add_tasks(job, "big", slots=2)
    assert world.started() == ["big"]
    world.end(run, None, ENDED)
    kinds = [type(instruction) for instruction in world.todo]
    assert kinds.index(instructions.RemoveTaskFiles) < kinds.index(instructions.StartRun)
    assert task.state == "running"


def test_deleting_a_finished_task_removes_its_files(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    run = task.run
    ready.end(run)
    assert ready.feed(events.TaskDeleted("j", "a")) == [instructions.RemoveTaskFiles("p", run.node_id, "j", "a")]


def test_terminating_a_job(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a", "b", "c")
    ready.feed(events.JobTerminated("j"))
    assert (job.state, job.wire["executionInfo"]["terminateReason"]) == ("terminating", "UserTerminate")
    ready.settle()
    assert job.state == "terminating"  # its tasks still end
    for stop in ready.take(instructions.StopRun):
        ready.end(stop.run, None, ENDED)
    assert (job.state, job.wire["previousState"]) == ("completed", "terminating")
    assert [task.state for task in job.tasks.values()] == ["completed", "completed", "active"]
    assert ready.state.jobs_of_pool["p"] == {}


def test_deleting_a_job_removes_files_before_it_is_gone(ready):
    job = ready.add_job()
    [a, _, _] = ready.add_tasks(job, "a", "b", "c")
    ready.end(a.run)
    ready.feed(events.JobDeleted("j"))
    assert job.state == "deleting"
    for stop in ready.take(instructions.StopRun):
        ready.end(stop.run, None, ENDED)
    for later in ready.take(instructions.Later):
        ready.feed(later.event)
    [removal] = ready.take(instructions.RemoveJobFiles)
    assert sorted(files.task_id for files in removal.files) == ["a", "b", "c"]
    assert "j" in ready.state.jobs
    ready.feed(events.JobFilesRemoved("j"))
    assert (ready.state.jobs, ready.state.runs, ready.nodes()[0].runs) == ({}, {}, {})


def test_a_terminating_job_can_be_deleted(ready):
    job = ready.add_job()
    ready.add_tasks(job, "a")
    ready.feed(events.JobTerminated("j"))
    ready.feed(events.JobDeleted("j"))
    [stop] = ready.take(instructions.StopRun)  # asked once
    ready.end(stop.run, None, ENDED)
    ready.settle()
    assert ready.state.jobs == {}


def test_no_retry_once_the_job_ends(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", retries=5)
    ready.feed(events.JobTerminated("j"))
    ready.end(task.run, 1)
    assert task.state == "completed"


def test_all_tasks_complete_ends_the_job_later(ready):
    job = ready.add_job(onAllTasksComplete="terminatejob")
    [task] = ready.add_tasks(job, "a")
    ready.settle()
    assert job.state == "active"
    ready.end(task.run)
    assert job.state == "active"
    ready.settle()
    assert (job.state, job.wire["executionInfo"]["terminateReason"]) == ("completed", "AllTasksComplete")


def test_a_new_task_in_time_keeps_the_job(ready):
    job = ready.add_job(onAllTasksComplete="terminatejob")
    [task] = ready.add_tasks(job, "a")
    ready.end(task.run)
    ready.add_tasks(job, "b")
    ready.settle()
    assert job.state == "active"


def test_the_wall_clock_of_a_job(ready):
    job = ready.add_job(wall_clock="PT10S")
    [after] = ready.take(instructions.After)
    assert after.delay_s == pytest.approx(10, abs=0.1)
    job.wire["constraints"]["maxWallClockTime"] = "PT20S"
    ready.feed(events.JobUpdated("j"))
    [again] = ready.take(instructions.After)
    ready.now += timedelta(seconds=10)
    ready.feed(after.event)  # the timer of before
    assert job.state == "active"
    ready.now += timedelta(seconds=10)
    ready.feed(again.event)
    assert job.wire["executionInfo"]["terminateReason"] == "MaxWallClockTimeExpiry"


def test_an_early_timer_is_set_again(ready):
    ready.add_job(wall_clock="PT10S")
    [after] = ready.take(instructions.After)
    ready.now += timedelta(seconds=9.5)
    ready.feed(after.event)
    [again] = ready.take(instructions.After)
    assert 0 < again.delay_s < 1


def test_events_about_what_is_gone_are_ignored(world):
    for event in (
        events.JobSettled("j"),
        events.JobTimeUp("j"),
        events.JobAllCompleteDue("j"),
        events.JobFilesRemoved("j"),
        events.PoolSettled("p"),
        events.NodeGone("p", "n"),
    ):
        assert world.feed(event) == []


def test_the_work_of_placing_does_not_grow_with_the_queue(world, monkeypatch):
    from snakemake_executor_azurebatch.emulator import placement

    looks = 0
    head = placement._head

    def counted(job, slots):
        nonlocal looks
        looks += 1
        return head(job, slots)

    monkeypatch.setattr(placement, "_head", counted)
    world.add_pool(nodes=10, slots=10)
    world.settle()
    job = world.add_job()
    world.feed = lambda event: world.todo.extend(world.engine.handle(event, world.now))  # checks are not free
    for start in range(0, 10_000, 100):
        world.add_tasks(job, *(f"t{number}" for number in range(start, start + 100)))
    while started := world.take(instructions.StartRun):
        for start in started:
            world.end(start.run)
    assert job.open_tasks == 0
    assert looks <= 25_000
