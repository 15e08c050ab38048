"""Job schedules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snakemake_executor_azurebatch.emulator import events, job_spec
from snakemake_executor_azurebatch.emulator.model import Schedule
from snakemake_executor_azurebatch.emulator.wire import parse_time, time_text


@pytest.fixture
def add(world):
    def add(**times):
        spec = job_spec.complete_specification({"poolInfo": {"poolId": "p"}, **times.pop("spec", {})})
        version = job_spec.version(world.state, world.now)
        wire = {
            "id": "S", **version, "creationTime": version["lastModified"], "state": "active",
            "stateTransitionTime": version["lastModified"], "schedule": times, "jobSpecification": spec,
            "executionInfo": {},
        }  # fmt: skip
        schedule = Schedule("S", "s", wire, None)
        world.feed(events.ScheduleAdded(schedule))
        return schedule

    return add


def _in(world, **delta):
    return time_text(world.now + timedelta(**delta))


def _end(world, key):
    world.feed(events.JobTerminated(key))
    world.settle()


def _next(schedule):
    return parse_time(schedule.wire["executionInfo"]["nextRunTime"])


def test_one_job_without_recurrence(world, add):
    schedule = add()
    [job] = world.state.jobs.values()
    assert (job.id, schedule.wire["executionInfo"]) == ("S:job-1", {"recentJob": {"id": "S:job-1"}})
    world.pass_time(days=30)
    assert (schedule.state, len(world.state.jobs)) == ("active", 1)
    _end(world, job.key)
    assert (schedule.state, schedule.wire["executionInfo"]["endTime"]) == (
        "completed",
        schedule.wire["stateTransitionTime"],
    )


def test_jobs_at_intervals(world, add):
    schedule = add(recurrenceInterval="PT2M")
    began = world.state.jobs["s:job-1"].created
    assert _next(schedule) == began + timedelta(minutes=2)
    _end(world, "s:job-1")
    world.pass_time(seconds=100)
    assert len(world.state.jobs) == 1
    world.pass_time(seconds=30)
    assert world.state.jobs["s:job-2"].created >= began + timedelta(minutes=2)
    assert schedule.wire["executionInfo"]["recentJob"] == {"id": "S:job-2"}
    assert _next(schedule) == began + timedelta(minutes=4)


def test_a_late_job_starts_when_the_one_before_has_ended(world, add):
    schedule = add(recurrenceInterval="PT2M")
    began = world.state.jobs["s:job-1"].created
    world.pass_time(seconds=150)
    assert list(world.state.jobs) == ["s:job-1"]  # at most one is active
    _end(world, "s:job-1")
    assert list(world.state.jobs) == ["s:job-1", "s:job-2"]
    assert _next(schedule) == began + timedelta(minutes=4)


def test_an_opportunity_is_not_carried_beyond_the_next_one(world, add):
    schedule = add(recurrenceInterval="PT2M")
    began = world.state.jobs["s:job-1"].created
    world.pass_time(minutes=7)
    _end(world, "s:job-1")
    assert list(world.state.jobs) == ["s:job-1", "s:job-2"]
    assert _next(schedule) == began + timedelta(minutes=8)


def test_the_start_window(world, add):
    schedule = add(recurrenceInterval="PT10M", startWindow="PT1M")
    began = world.state.jobs["s:job-1"].created
    world.pass_time(minutes=12)
    _end(world, "s:job-1")
    assert list(world.state.jobs) == ["s:job-1"]  # the window of the second is over
    assert _next(schedule) == began + timedelta(minutes=20)
    world.pass_time(minutes=9)
    assert "s:job-2" in world.state.jobs


def test_not_before(world, add):
    schedule = add(doNotRunUntil=_in(world, hours=1))
    assert (world.state.jobs, _next(schedule)) == ({}, parse_time(schedule.wire["schedule"]["doNotRunUntil"]))
    world.pass_time(minutes=61)
    assert list(world.state.jobs) == ["s:job-1"]


def test_not_after(world, add):
    schedule = add(recurrenceInterval="PT10M", doNotRunAfter=_in(world, minutes=15))
    _end(world, "s:job-1")
    assert schedule.state == "active"
    world.pass_time(minutes=11)
    assert "s:job-2" in world.state.jobs
    assert "nextRunTime" not in schedule.wire["executionInfo"]
    world.pass_time(minutes=30)
    assert schedule.state == "active"  # its job is
    _end(world, "s:job-2")
    assert (schedule.state, len(world.state.jobs)) == ("completed", 2)


def test_a_schedule_that_comes_too_late_for_its_first_job(world, add):
    schedule = add(doNotRunAfter=_in(world, minutes=-1))
    assert (schedule.state, world.state.jobs) == ("completed", {})


def test_a_disabled_schedule_makes_no_jobs_and_leaves_its_job_alone(world, add):
    schedule = add(recurrenceInterval="PT2M")
    world.feed(events.ScheduleDisabled("s"))
    _end(world, "s:job-1")
    world.pass_time(minutes=9)
    assert (schedule.state, list(world.state.jobs)) == ("disabled", ["s:job-1"])
    world.feed(events.ScheduleEnabled("s"))
    assert list(world.state.jobs) == ["s:job-1", "s:job-2"]


def test_terminating_ends_the_active_job(world, add):
    schedule = add(recurrenceInterval="PT2M")
    world.feed(events.ScheduleTerminated("s"))
    job = world.state.jobs["s:job-1"]
    assert (schedule.state, job.state) == ("terminating", "terminating")
    assert job.wire["executionInfo"]["terminateReason"] == "TerminateJobSchedule"
    world.settle()
    assert (schedule.state, job.state) == ("completed", "completed")
    world.pass_time(minutes=10)
    assert list(world.state.jobs) == ["s:job-1"]


def test_deleting_takes_all_jobs_along(world, add):
    schedule = add(recurrenceInterval="PT2M")
    _end(world, "s:job-1")
    world.pass_time(minutes=3)
    stranger = world.add_job("other")
    world.feed(events.ScheduleDeleted("s"))
    assert schedule.state == "deleting"
    world.settle()
    assert (world.state.schedules, list(world.state.jobs.values())) == ({}, [stranger])
    world.pass_time(minutes=10)
    assert len(world.state.jobs) == 1


def test_deleting_its_job_ends_a_schedule_too(world, add):
    schedule = add()
    world.feed(events.JobDeleted("s:job-1"))
    world.settle()
    assert schedule.state == "completed"


def test_changed_times_count_from_the_last_job(world, add):
    schedule = add(recurrenceInterval="PT1H")
    began = world.state.jobs["s:job-1"].created
    _end(world, "s:job-1")
    schedule.wire["schedule"] = {"recurrenceInterval": "PT2M"}
    world.feed(events.ScheduleUpdated("s"))
    assert _next(schedule) == began + timedelta(minutes=2)
    schedule.wire["schedule"] = {}
    world.feed(events.ScheduleUpdated("s"))
    assert schedule.state == "completed"


def test_a_job_of_a_schedule_has_its_own_directories(world, add):
    world.add_pool()
    world.settle()
    add(spec={"jobManagerTask": {"id": "m", "commandLine": "x"}, "priority": 7})
    job = world.state.jobs["s:job-1"]
    assert (job.wire["priority"], job.tasks["m"].state) == (7, "running")
    assert job.tasks["m"].wire["nodeInfo"]["taskRootDirectory"] == "workitems/S/job-1/m"
    world.end(job.tasks["m"].run)
    world.settle()
    assert world.state.schedules["s"].state == "completed"
