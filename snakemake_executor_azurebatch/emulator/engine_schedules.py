"""How job schedules behave.

    schedule   active <-> disabled; either -> terminating -> completed; any -> deleting -> gone

Rules (source: public documentation of job schedules): at most one active job; a job that is due while the
one before is active starts when that has ended, within the startWindow and before the next one is due; no
recurrence means one job; the schedule is completed when no job is to come and none is active.

Assumed: ``startWindow`` counts from the moment a job is due; changed times are applied to the next job, whose
moment is then the start of the last one plus the new interval; a disabled schedule lets its opportunities pass.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from snakemake_executor_azurebatch.emulator import engine_jobs, events, instructions, job_spec
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.model import Job, Schedule
from snakemake_executor_azurebatch.emulator.wire import Json, duration_s, parse_time, time_text


def schedule_added(turn: Turn, event: events.ScheduleAdded) -> None:
    """The first job starts at once, unless doNotRunUntil says when."""
    turn.state.schedules[event.schedule.key] = event.schedule
    schedule_updated(turn, events.ScheduleUpdated(event.schedule.key))


def schedule_updated(turn: Turn, event: events.ScheduleUpdated) -> None:
    """Find anew when the next job is due."""
    schedule = turn.state.schedules[event.schedule_key]
    times = schedule.wire["schedule"]
    until = parse_time(times["doNotRunUntil"]) if "doNotRunUntil" in times else None
    last = turn.state.jobs.get(schedule.job_key)
    interval = _interval(schedule)
    if not schedule.jobs_made:
        schedule.due = max(turn.now, until or turn.now)
    elif interval is None:
        schedule.due = None
    else:
        after_last = (last.created if last else turn.now) + interval
        schedule.due = max(after_last, until or after_last)
    _advance(turn, schedule)


def schedule_due(turn: Turn, event: events.ScheduleDue) -> None:
    """Something may be to do: a job is due, or one has ended."""
    schedule = turn.state.schedules.get(event.schedule_key)
    if schedule:
        _advance(turn, schedule)
        _finish(turn, schedule)


def schedule_disabled(turn: Turn, event: events.ScheduleDisabled) -> None:
    """Its active job goes on."""
    turn.move(turn.state.schedules[event.schedule_key].wire, "disabled")


def schedule_enabled(turn: Turn, event: events.ScheduleEnabled) -> None:
    """Jobs are made again."""
    schedule = turn.state.schedules[event.schedule_key]
    turn.move(schedule.wire, "active")
    _advance(turn, schedule)


def schedule_terminated(turn: Turn, event: events.ScheduleTerminated) -> None:
    """Its active job is ended first."""
    schedule = turn.state.schedules[event.schedule_key]
    _leave(turn, schedule, "terminating")
    job = _active_job(turn, schedule)
    if job and job.state in engine_jobs.LIVE:
        reason = "TerminateJobSchedule"
        engine_jobs.job_terminated(turn, events.JobTerminated(job.key, reason, event.is_forced))


def schedule_deleted(turn: Turn, event: events.ScheduleDeleted) -> None:
    """All its jobs are deleted first."""
    schedule = turn.state.schedules[event.schedule_key]
    _leave(turn, schedule, "deleting")
    for job in _jobs(turn, schedule):
        if job.state != "deleting":
            engine_jobs.job_deleted(turn, events.JobDeleted(job.key, event.is_forced))


def schedule_settled(turn: Turn, event: events.ScheduleSettled) -> None:
    """The transition was seen; it ends with the schedule's last job."""
    schedule = turn.state.schedules.get(event.schedule_key)
    if schedule:
        schedule.is_settled = True
        _finish(turn, schedule)


def _leave(turn: Turn, schedule: Schedule, state: str) -> None:
    turn.move(schedule.wire, state)
    schedule.wire["executionInfo"].pop("nextRunTime", None)
    schedule.is_settled = False
    turn.out.append(instructions.Later("settle_s", events.ScheduleSettled(schedule.key)))


def _finish(turn: Turn, schedule: Schedule) -> None:
    if not schedule.is_settled:
        return
    if schedule.state == "terminating" and _active_job(turn, schedule) is None:
        _complete(turn, schedule)
    elif schedule.state == "deleting" and not _jobs(turn, schedule):
        del turn.state.schedules[schedule.key]


def _advance(turn: Turn, schedule: Schedule) -> None:
    """Make the job that is due, or say when to look again, or end the schedule."""
    if schedule.state != "active":
        return
    _skip_lost(turn, schedule)
    active = _active_job(turn, schedule)
    if schedule.due and schedule.due <= turn.now and active is None:
        active = _make_job(turn, schedule)
        interval = _interval(schedule)
        schedule.due = schedule.due + interval if interval else None
        _skip_late(schedule)
    if schedule.due is None and active is None:
        _complete(turn, schedule)
        return
    _show_next(turn, schedule)


def _skip_lost(turn: Turn, schedule: Schedule) -> None:
    """Drop the opportunities whose window is over: what is due is not carried beyond the next interval."""
    interval, window_s = _interval(schedule), duration_s(schedule.wire["schedule"].get("startWindow", "P9999999D"))
    due = schedule.due
    if due is not None and interval is not None and due + interval <= turn.now:
        due += (turn.now - due) // interval * interval
    if due is not None and window_s is not None and (turn.now - due).total_seconds() > window_s:
        due = due + interval if interval is not None else None
    schedule.due = due
    _skip_late(schedule)
    limit = _limit(schedule)
    if limit and turn.now >= limit:
        schedule.due = None


def _skip_late(schedule: Schedule) -> None:
    limit = _limit(schedule)
    if limit and schedule.due and schedule.due >= limit:
        schedule.due = None


def _make_job(turn: Turn, schedule: Schedule) -> Job:
    schedule.jobs_made += 1
    job_id = f"{schedule.id}:job-{schedule.jobs_made}"
    spec = schedule.wire["jobSpecification"]
    pool_id = spec["poolInfo"]["poolId"]
    job, tasks = job_spec.new_job(turn.state, turn.now, job_id, spec, pool_id, schedule.registries)
    job.schedule_key = schedule.key
    schedule.job_key = job.key
    schedule.wire["executionInfo"]["recentJob"] = {"id": job_id}
    engine_jobs.job_added(turn, events.JobAdded(job, tasks))
    return job


def _show_next(turn: Turn, schedule: Schedule) -> None:
    info = schedule.wire["executionInfo"]
    info.pop("nextRunTime", None)
    if schedule.due is not None:
        info["nextRunTime"] = time_text(schedule.due)
        if schedule.due > turn.now:
            left_s = (schedule.due - turn.now).total_seconds()
            turn.out.append(instructions.After(left_s, events.ScheduleDue(schedule.key)))


def _complete(turn: Turn, schedule: Schedule) -> None:
    turn.move(schedule.wire, "completed")
    info: Json = schedule.wire["executionInfo"]
    info.pop("nextRunTime", None)
    info["endTime"] = turn.stamp


def _jobs(turn: Turn, schedule: Schedule) -> list[Job]:
    return [job for job in turn.state.jobs.values() if job.schedule_key == schedule.key]


def _active_job(turn: Turn, schedule: Schedule) -> Job | None:
    job = turn.state.jobs.get(schedule.job_key)
    return job if job and job.schedule_key == schedule.key and job.state != "completed" else None


def _interval(schedule: Schedule) -> timedelta | None:
    text = schedule.wire["schedule"].get("recurrenceInterval")
    seconds = duration_s(text) if text else None
    return timedelta(seconds=seconds) if seconds else None


def _limit(schedule: Schedule) -> datetime | None:
    text = schedule.wire["schedule"].get("doNotRunAfter")
    return parse_time(text) if text else None
