"""Job schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import code_of, running_service, values_of, wait_until

QUICK = {"polling_interval": 0.02}
#: azure-batch 15.1 cannot send this request without options, and does not export their class.
ENOUGH = m._models.BatchJobTerminateOptions(termination_reason="Enough")


def _specification(pool_id="p", **options):
    return m.BatchJobSpecification(pool_info=m.BatchPoolInfo(pool_id=pool_id), **options)


def _schedule(schedule_id, specification=None, **times):
    return m.BatchJobScheduleCreateOptions(
        id=schedule_id,
        schedule=m.BatchJobScheduleConfiguration(**times),
        job_specification=specification or _specification(),
    )


@pytest.fixture
def hourly(batch, name):
    """An hourly schedule, deleted in the end."""
    batch.create_job_schedule(_schedule(name, recurrence_interval=timedelta(hours=1)))
    yield name
    batch.begin_delete_job_schedule(name, **QUICK).result()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A client of a service whose clock the tests move on."""
    with (
        running_service(tmp_path_factory.mktemp("clock"), Timings(settle_s=0.03)) as running,
        running.client() as client,
    ):
        yield client


def _advance(client, **delta):
    seconds = timedelta(**delta).total_seconds()
    request = HttpRequest("POST", "/_admin/clock?api-version=2025-06-01", json={"advanceSeconds": seconds})
    client.send_request(request)


def _jobs(client, schedule_id):
    return [job.id for job in client.list_jobs_from_schedule(schedule_id)]


def test_a_new_schedule_shows_what_was_recorded(batch, hourly):
    shown = batch.get_job_schedule(hourly).as_dict()
    assert (shown["state"], shown["schedule"]) == ("active", {"recurrenceInterval": "PT1H"})
    assert shown["url"].endswith(f"/jobschedules/{hourly}")
    assert shown["jobSpecification"] == {
        "priority": 0,
        "maxParallelTasks": -1,
        "allowTaskPreemption": False,
        "usesTaskDependencies": False,
        "onAllTasksComplete": "noaction",
        "onTaskFailure": "noaction",
        "constraints": {"maxWallClockTime": "P10675199DT2H48M5.4775807S", "maxTaskRetryCount": 0},
        "poolInfo": {"poolId": "p"},
    }
    recent = shown["executionInfo"]["recentJob"]
    assert recent["id"] == f"{hourly}:job-1"
    assert recent["url"].endswith(f"/jobs/{hourly}:job-1")
    job = batch.get_job(f"{hourly}:job-1")
    left = batch.get_job_schedule(hourly).execution_info.next_run_time - job.creation_time
    assert abs(left - timedelta(hours=1)) < timedelta(seconds=1)


def test_jobs_of_a_schedule_are_jobs(batch, hourly):
    job_id = f"{hourly}:job-1"
    assert _jobs(batch, hourly) == [job_id]
    batch.create_task(job_id, m.BatchTaskCreateOptions(id="t", command_line="true"))
    assert [task.id for task in batch.list_tasks(job_id)] == ["t"]
    batch.update_job(job_id, m.BatchJobUpdateOptions(priority=3))
    found = batch.list_jobs_from_schedule(hourly, filter="state eq 'active'", select=["id", "priority"])
    assert [job.as_dict() for job in found] == [{"id": job_id, "priority": 3}]
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_jobs_from_schedule(hourly, filter="id eq 'x'"))
    assert code_of(refused) == "InvalidQueryParameterValue"


def test_head(batch, hourly):
    assert batch.job_schedule_exists(hourly.upper()) is True
    with pytest.raises(ResourceNotFoundError):  # azure-batch 15.1 raises instead of answering False
        batch.job_schedule_exists("nobody")


def test_missing_schedules(batch):
    for ask in (
        lambda: batch.get_job_schedule("nobody"),
        lambda: list(batch.list_jobs_from_schedule("nobody")),
        lambda: batch.disable_job_schedule("nobody"),
        lambda: batch.enable_job_schedule("nobody"),
        lambda: batch.begin_terminate_job_schedule("nobody"),
        lambda: batch.begin_delete_job_schedule("nobody"),
        lambda: batch.update_job_schedule("nobody", m.BatchJobScheduleUpdateOptions()),
    ):
        with pytest.raises(ResourceNotFoundError) as missing:
            ask()
        assert "(JobScheduleNotFound) The specified job schedule does not exist." in str(missing.value)


def test_list(batch, hourly):
    found = batch.list_job_schedules(filter=f"startswith(id,'{hourly.upper()}') and state eq 'active'")
    assert [schedule.id for schedule in found] == [hourly]
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_job_schedules(filter="displayName eq 'x'"))
    assert code_of(refused) == "InvalidQueryParameterValue"


def test_filters_on_the_times_of_a_schedule(batch, name):
    until = datetime.now(UTC) + timedelta(days=1)
    batch.create_job_schedule(_schedule(name, do_not_run_until=until))
    mine = f"startswith(id,'{name}') and schedule/doNotRunUntil"
    soon = (until - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    assert [found.id for found in batch.list_job_schedules(filter=f"{mine} gt DateTime'{soon}'")] == [name]
    assert list(batch.list_job_schedules(filter=f"{mine} lt DateTime'{soon}'")) == []
    assert _jobs(batch, name) == []
    batch.begin_delete_job_schedule(name, **QUICK).result()


def test_jobs_and_schedules_share_their_ids(batch, name, hourly):
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_job_schedule(_schedule(hourly.upper()))
    assert "(JobScheduleExists) The specified job schedule already exists." in str(refused.value)
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_job(m.BatchJobCreateOptions(id=hourly, pool_info=m.BatchPoolInfo(pool_id="p")))
    assert code_of(refused) == "JobScheduleWithSameIdExists"
    batch.create_job(m.BatchJobCreateOptions(id=f"{name}-j", pool_info=m.BatchPoolInfo(pool_id="p")))
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_job_schedule(_schedule(f"{name}-J"))
    assert code_of(refused) == "JobWithSameIdExists"
    batch.begin_delete_job(f"{name}-j", **QUICK).result()


@pytest.mark.parametrize(
    ("times", "member"),
    [
        ({"recurrence_interval": timedelta(seconds=59)}, "recurrenceInterval"),
        ({"start_window": timedelta(seconds=1)}, "startWindow"),
        (
            {
                "do_not_run_until": datetime(2030, 1, 2, tzinfo=UTC),
                "do_not_run_after": datetime(2030, 1, 1, tzinfo=UTC),
            },
            "doNotRunAfter",
        ),
    ],
)
def test_times_that_cannot_be(batch, name, hourly, times, member):
    for send in (
        lambda: batch.create_job_schedule(_schedule(f"{name}-x", **times)),
        lambda: batch.update_job_schedule(
            hourly, m.BatchJobScheduleUpdateOptions(schedule=m.BatchJobScheduleConfiguration(**times))
        ),
    ):
        with pytest.raises(HttpResponseError) as refused:
            send()
        assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
        assert values_of(refused)["PropertyName"] == member


def test_a_specification_is_checked_as_a_job(batch, name):
    wrong = _specification(priority=2000)
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job_schedule(_schedule(name, wrong))
    assert values_of(refused)["PropertyName"] == "priority"


def test_update_and_replace(batch, hourly):
    options = m.BatchJobScheduleUpdateOptions(metadata=[m.BatchMetadataItem(name="a", value="b")])
    etag = batch.get_job_schedule(hourly).etag
    batch.update_job_schedule(hourly, options)
    shown = batch.get_job_schedule(hourly)
    assert (shown.metadata[0].value, shown.schedule.recurrence_interval) == ("b", timedelta(hours=1))
    assert shown.etag != etag
    batch.update_job_schedule(hourly, m.BatchJobScheduleUpdateOptions(job_specification=_specification(priority=5)))
    assert batch.get_job(f"{hourly}:job-1").priority == 0  # only later jobs are concerned
    shown = batch.get_job_schedule(hourly)
    assert shown.job_specification.priority == 5
    shown.schedule.recurrence_interval = timedelta(hours=2)
    batch.replace_job_schedule(hourly, shown)
    assert batch.get_job_schedule(hourly).schedule.recurrence_interval == timedelta(hours=2)
    batch.replace_job_schedule(hourly, m.BatchJobSchedule(job_specification=_specification()))
    shown = batch.get_job_schedule(hourly)
    assert (shown.metadata, shown.job_specification.priority) == (None, 0)
    assert shown.execution_info.next_run_time is None  # no recurrence any more


def test_disable_and_enable(batch, hourly):
    batch.disable_job_schedule(hourly)
    batch.disable_job_schedule(hourly)
    shown = batch.get_job_schedule(hourly)
    assert (shown.state, shown.previous_state) == (m.BatchJobScheduleState.DISABLED, m.BatchJobScheduleState.ACTIVE)
    assert batch.get_job(f"{hourly}:job-1").state == m.BatchJobState.ACTIVE
    batch.enable_job_schedule(hourly)
    assert batch.get_job_schedule(hourly).state == m.BatchJobScheduleState.ACTIVE


def test_terminate(batch, hourly):
    batch.begin_terminate_job_schedule(hourly, **QUICK).result()
    shown = batch.get_job_schedule(hourly)
    assert shown.state == m.BatchJobScheduleState.COMPLETED
    assert shown.execution_info.end_time is not None
    job = batch.get_job(f"{hourly}:job-1")
    assert (job.state.value, job.execution_info.termination_reason) == ("completed", "TerminateJobSchedule")
    for change in (
        lambda: batch.disable_job_schedule(hourly),
        lambda: batch.enable_job_schedule(hourly),
        lambda: batch.begin_terminate_job_schedule(hourly),
        lambda: batch.update_job_schedule(hourly, m.BatchJobScheduleUpdateOptions()),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == "JobScheduleCompleted"


def test_delete(batch, name):
    batch.create_job_schedule(_schedule(name))
    # azure-batch 15.1 cannot send force with this one
    batch.send_request(HttpRequest("DELETE", f"/jobschedules/{name}?force=true&api-version=2025-06-01"))
    wait_until(lambda: not list(batch.list_job_schedules(filter=f"id eq '{name}'")))
    for ask in (lambda: batch.get_job_schedule(name), lambda: batch.get_job(f"{name}:job-1")):
        with pytest.raises(ResourceNotFoundError):
            ask()
    batch.create_job_schedule(_schedule(name))
    batch.begin_delete_job_schedule(name, **QUICK).result()


@pytest.mark.parametrize(
    ("method", "path", "state", "code"),
    [
        ("POST", "/jobschedules/{}/terminate", "terminating", "JobScheduleBeingTerminated"),
        ("DELETE", "/jobschedules/{}", "deleting", "JobScheduleBeingDeleted"),
    ],
)
def test_a_schedule_in_transition_cannot_be_changed(frozen, name, method, path, state, code):
    name = f"{name}-{state}"
    frozen.create_job_schedule(_schedule(name))
    frozen.send_request(HttpRequest(method, f"{path.format(name)}?api-version=2025-06-01"))
    assert frozen.get_job_schedule(name).state.value == state
    for change in (lambda: frozen.disable_job_schedule(name), lambda: frozen.begin_terminate_job_schedule(name)):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == code


def test_conditions(batch, hourly):
    stale = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
    for change in (
        lambda: batch.update_job_schedule(hourly, m.BatchJobScheduleUpdateOptions(), **stale),
        lambda: batch.disable_job_schedule(hourly, **stale),
        lambda: batch.begin_terminate_job_schedule(hourly, **stale),
        lambda: batch.begin_delete_job_schedule(hourly, **stale),
        lambda: batch.get_job_schedule(hourly, **stale),
    ):
        with pytest.raises(ResourceModifiedError) as refused:
            change()
        assert code_of(refused) == "ConditionNotMet"


def test_jobs_come_at_intervals_by_the_services_clock(quick, name):
    ends = _specification(all_tasks_complete_mode="terminatejob")
    quick.create_job_schedule(_schedule(name, ends, recurrence_interval=timedelta(minutes=5)))
    for number in (1, 2, 3):
        job_id = f"{name}:job-{number}"
        wait_until(lambda number=number: len(_jobs(quick, name)) == number)
        wait_until(lambda job_id=job_id: quick.get_job(job_id).state == m.BatchJobState.COMPLETED)
        _advance(quick, minutes=5)
    times = [job.creation_time for job in quick.list_jobs_from_schedule(name)]
    assert timedelta(minutes=5) <= times[1] - times[0] < timedelta(minutes=6)
    assert quick.get_job_schedule(name).execution_info.recent_job.id in (f"{name}:job-3", f"{name}:job-4")


def test_one_active_job_at_a_time(quick, name):
    quick.create_job_schedule(_schedule(name, recurrence_interval=timedelta(minutes=1)))
    _advance(quick, minutes=10)
    assert _jobs(quick, name) == [f"{name}:job-1"]
    quick.begin_terminate_job(f"{name}:job-1", ENOUGH, **QUICK).result()
    wait_until(lambda: len(_jobs(quick, name)) == 2)


def test_a_schedule_completes_after_its_deadline(quick, name):
    now = quick.send_request(HttpRequest("GET", "/_admin/clock?api-version=2025-06-01")).json()["now"]
    limit = datetime.fromisoformat(now) + timedelta(minutes=2)
    ends = _specification(all_tasks_complete_mode="terminatejob")
    quick.create_job_schedule(_schedule(name, ends, recurrence_interval=timedelta(minutes=1), do_not_run_after=limit))
    wait_until(lambda: quick.get_job(f"{name}:job-1").state == m.BatchJobState.COMPLETED)
    _advance(quick, minutes=3)
    wait_until(lambda: quick.get_job_schedule(name).state == m.BatchJobScheduleState.COMPLETED)


def test_statistics_may_be_asked_for(batch, hourly):
    assert batch.get_job_schedule(hourly, expand=["stats"]).job_schedule_statistics is None
    assert [job.id for job in batch.list_jobs_from_schedule(hourly, expand=["stats"])] == [f"{hourly}:job-1"]
    for ask in (
        lambda: batch.get_job_schedule(hourly, expand=["tasks"]),
        lambda: batch.get_job(f"{hourly}:job-1", expand=["tasks"]),
        lambda: list(batch.list_tasks(f"{hourly}:job-1", expand=["tasks"])),
    ):
        with pytest.raises(HttpResponseError) as refused:
            ask()
        assert (refused.value.status_code, code_of(refused)) == (400, "InvalidQueryParameterValue")
