"""Dependencies, exit conditions, reactivation, retention."""

from __future__ import annotations

import copy

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure, TaskOutcome
from snakemake_executor_azurebatch.emulator.exit_conditions import ExitOptions, exit_options

from .conftest import ENDED, START

_UPLOAD = TaskFailure("usererror", "FileUploadAccessDenied", "no")
_BLOB = TaskFailure("usererror", "BlobNotFound", "no")


def test_a_task_waits_for_all_it_depends_on(ready):
    job = ready.add_job()
    [last] = ready.add_tasks(job, "last", dependsOn={"taskIds": ["A", "later", "a"]})
    [a] = ready.add_tasks(job, "a")
    ready.end(a.run)
    assert last.state == "active"
    [later] = ready.add_tasks(job, "later")
    ready.end(later.run)
    assert last.state == "running"
    [more] = ready.add_tasks(job, "more", dependsOn={"taskIds": ["a"]})
    assert more.state == "running"


def test_ranges_of_numbers(ready):
    job = ready.add_job()
    waits = [{"start": 1, "end": 2}, {"start": 4, "end": 4}]
    [last] = ready.add_tasks(job, "last", dependsOn={"taskIdRanges": waits})
    for task_id in ("1", "002", "two", "3"):
        [task] = ready.add_tasks(job, task_id)
        ready.end(task.run)
    assert last.state == "active"
    bad, good = ready.add_tasks(job, "4", "04")
    ready.end(bad.run, 1)
    assert last.state == "active"
    ready.end(good.run)  # the first of 4 and 04 to succeed is enough
    assert last.state == "running"


def test_a_range_may_be_huge(ready):
    job = ready.add_job()
    [last] = ready.add_tasks(job, "last", dependsOn={"taskIdRanges": [{"start": 0, "end": 2**31 - 1}]})
    [task] = ready.add_tasks(job, "7")
    ready.end(task.run)
    assert last.state == "active"


@pytest.mark.parametrize(("action", "state"), [("satisfy", "running"), ("block", "active")])
def test_a_failure_blocks_dependents_unless_it_satisfies_them(ready, action, state):
    job = ready.add_job()
    conditions = {"exitCodes": [{"code": 3, "exitOptions": {"dependencyAction": action}}]}
    [a] = ready.add_tasks(job, "a", exitConditions=conditions)
    [b] = ready.add_tasks(job, "b", dependsOn={"taskIds": ["a"]})
    ready.end(a.run, 3)
    assert b.state == state


def test_a_blocked_task_runs_once_its_predecessor_was_mended(ready):
    job = ready.add_job()
    [a] = ready.add_tasks(job, "a")
    [b] = ready.add_tasks(job, "b", dependsOn={"taskIds": ["a"]})
    ready.end(a.run, 1)
    ready.feed(events.TaskReactivated("j", "a"))
    assert (a.state, a.wire["previousState"]) == ("running", "active")
    ready.end(a.run)
    assert b.state == "running"


def test_what_was_deleted_satisfies_nobody(ready):
    job = ready.add_job()
    [a] = ready.add_tasks(job, "5")
    ready.end(a.run)
    ready.feed(events.TaskDeleted("j", "5"))
    [by_id] = ready.add_tasks(job, "b", dependsOn={"taskIds": ["5"]})
    [by_range] = ready.add_tasks(job, "c", dependsOn={"taskIdRanges": [{"start": 5, "end": 5}]})
    assert (by_id.state, by_range.state) == ("active", "active")
    [again] = ready.add_tasks(job, "5")
    ready.end(again.run)
    assert (by_id.state, by_range.state) == ("running", "running")


def test_a_waiting_task_can_be_terminated_and_deleted(ready):
    job = ready.add_job()
    [a] = ready.add_tasks(job, "a")
    ended, gone = ready.add_tasks(job, "b", "c", dependsOn={"taskIds": ["a"]})
    ready.feed(events.TaskTerminated("j", "b"))
    ready.feed(events.TaskDeleted("j", "c"))
    ready.end(a.run)
    assert (ended.state, gone.state, ready.state.runs) == ("completed", "active", {})


def _outcome(exit_code, failure=None):
    return TaskOutcome(exit_code, START, START, failure)


@pytest.mark.parametrize(
    ("outcome", "member"),
    [
        (_outcome(3), "exitCodes"),
        (_outcome(5), "exitCodeRanges"),
        (_outcome(7), "exitCodeRanges"),
        (_outcome(8), "default"),
        (_outcome(0), None),
        (_outcome(None, _BLOB), "preProcessingError"),
        (_outcome(0, _UPLOAD), "fileUploadError"),
        (_outcome(3, _UPLOAD), "exitCodes"),
        (_outcome(None, ENDED), "default"),
    ],
)
def test_the_order_of_looking_up_exit_conditions(outcome, member):
    marks = {name: {"jobAction": "disable"} for name in ("preProcessingError", "fileUploadError", "default")}
    codes = [{"code": 3, "exitOptions": {"jobAction": "disable"}}]
    ranges = [{"start": 3, "end": 7, "exitOptions": {"jobAction": "disable"}}]
    whole = {**marks, "exitCodes": codes, "exitCodeRanges": ranges}
    without = {name: value for name, value in whole.items() if name != member}
    for name, value in without.items():  # whatever else is there says something else
        options = {"jobAction": "none"}
        without[name] = [{**value[0], "exitOptions": options}] if isinstance(value, list) else options
    found = exit_options({**without, **({member: whole[member]} if member else {})}, outcome)
    assert found.job_action == ("disable" if member else "none")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (_outcome(0), ExitOptions("none", satisfies=True)),
        (_outcome(1), ExitOptions("terminate", satisfies=False)),
        (_outcome(0, _UPLOAD), ExitOptions("terminate", satisfies=False)),
    ],
)
def test_exit_options_that_nobody_gave(outcome, expected):
    assert exit_options(None, outcome) == expected


@pytest.mark.parametrize(
    ("action", "state", "reason"), [("terminate", "completed", "TaskFailed"), ("disable", "disabled", None)]
)
def test_a_task_can_end_or_disable_its_job(ready, action, state, reason):
    job = ready.add_job(onTaskFailure="performexitoptionsjobaction")
    conditions = {"default": {"jobAction": action}}
    [task, other] = ready.add_tasks(job, "a", "b", exitConditions=conditions, retries=1)
    ready.end(task.run, 1)
    assert job.state == "active"  # it has a retry left
    ready.end(task.run, 1)
    for stop in ready.take(instructions.StopRun):
        ready.end(stop.run, None, ENDED)
    ready.settle()
    assert (job.state, job.wire["executionInfo"].get("terminateReason")) == (state, reason)
    assert other.state == ("completed" if reason else "active")


def test_without_the_jobs_consent_a_failure_is_the_tasks_own_affair(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.end(task.run, 1)
    assert job.state == "active"


def test_a_task_ended_by_a_request_causes_no_job_action(ready):
    job = ready.add_job(onTaskFailure="performexitoptionsjobaction")
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.TaskTerminated("j", "a"))
    ready.end(task.run, 143, ENDED)
    assert (task.state, job.state) == ("completed", "active")


def test_reactivation_begins_anew(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", retries=1)
    for _ in range(2):
        ready.end(task.run, 1)
    ready.add_tasks(job, "big", slots=2)
    ready.feed(events.TaskReactivated("j", "a"))
    info = task.wire["executionInfo"]
    assert (task.state, info, "nodeInfo" in task.wire) == ("active", {"retryCount": 0, "requeueCount": 0}, False)
    assert (task.wire["previousState"], task.wire["constraints"]["maxTaskRetryCount"]) == ("completed", 1)


def test_files_go_when_their_time_is_over(ready):
    job = ready.add_job()
    [short] = ready.add_tasks(job, "a", constraints={"retentionTime": "PT1M"})
    [long] = ready.add_tasks(job, "b")
    node = short.run.node_id
    ready.end(long.run)
    ready.end(short.run)
    ready.pass_time(seconds=59)
    assert not short.files_expired
    ready.pass_time(seconds=2)
    assert (short.files_expired, long.files_expired) == (True, False)
    assert ready.take(instructions.RemoveTaskFiles) == [instructions.RemoveTaskFiles("p", node, "j", "a")]
    ready.pass_time(days=7)
    assert long.files_expired


def test_a_reactivated_task_keeps_its_new_files(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", constraints={"retentionTime": "PT1M"})
    ready.end(task.run, 1)
    ready.pass_time(seconds=30)
    ready.feed(events.TaskReactivated("j", "a"))
    ready.pass_time(seconds=31)
    assert not task.files_expired
    ready.end(task.run)
    ready.pass_time(seconds=61)
    assert task.files_expired


def test_retention_survives_a_restart(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a", constraints={"retentionTime": "PT1M"})
    ready.end(task.run)
    ready.state.expiries = copy.deepcopy(ready.state.expiries)  # as pickle does it
    assert ready.state.expiries.heap == []
    ready.pass_time(seconds=61)
    assert task.files_expired
