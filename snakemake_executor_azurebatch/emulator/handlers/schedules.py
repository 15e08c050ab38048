"""Operations on job schedules.

Assumed: a schedule that is active may be enabled, and a disabled one disabled, without effect; a schedule is
changed in any state but the last ones; PATCH replaces ``schedule`` and ``jobSpecification`` as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

from snakemake_executor_azurebatch.emulator import calls, events, faults, job_spec, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.events import Event
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property, not_emulated
from snakemake_executor_azurebatch.emulator.handlers import jobs
from snakemake_executor_azurebatch.emulator.listing import element, page
from snakemake_executor_azurebatch.emulator.model import Schedule
from snakemake_executor_azurebatch.emulator.wire import Json, job_url, parse_time

_MIN_S = 60


def create_job_schedule(call: Call) -> Answer:
    """POST /jobschedules"""
    body = calls.without_secrets(call.body)
    schedule_id = calls.check_id(body["id"])
    _check_times(body["schedule"])
    _check_specification(body["jobSpecification"])
    state = call.service.state
    existing = state.schedules.get(schedule_id.lower())
    if existing is not None:
        is_going = existing.state == "deleting"
        raise ServiceFault(faults.JOB_SCHEDULE_BEING_DELETED if is_going else faults.JOB_SCHEDULE_EXISTS)
    if schedule_id.lower() in state.jobs:
        raise ServiceFault(faults.JOB_WITH_SAME_ID)
    jobs.check_quota(call)
    version = calls.fresh(call.service)
    wire = {
        "id": schedule_id,
        **version,
        "creationTime": version["lastModified"],
        "state": "active",
        "stateTransitionTime": version["lastModified"],
        **body,
        "jobSpecification": job_spec.complete_specification(body["jobSpecification"]),
        "executionInfo": {},
    }
    secrets = job_spec.registries_of(call.body["jobSpecification"])
    schedule = Schedule(schedule_id, schedule_id.lower(), wire, None, registries=secrets)
    call.service.dispatch(events.ScheduleAdded(schedule))
    return calls.created(wire, _url(call, schedule))


def list_job_schedules(call: Call) -> Answer:
    """GET /jobschedules"""
    calls.check_expand(call)
    found = call.service.state.schedules
    return page(call, "jobschedules", sorted(found), lambda key: _shown(call, found[key]), odata.JOB_SCHEDULES)


def get_job_schedule(call: Call) -> Answer:
    """GET /jobschedules/{jobScheduleId}"""
    calls.check_expand(call)
    schedule = _find(call)
    calls.check_conditions(call, schedule.wire, is_read=True)
    return element(call, "jobschedules", _shown(call, schedule))


def job_schedule_exists(call: Call) -> Answer:
    """HEAD /jobschedules/{jobScheduleId}"""
    schedule = _find(call)
    calls.check_conditions(call, schedule.wire, is_read=True)
    return Answer(200, headers=calls.version_headers(schedule.wire))


def update_job_schedule(call: Call) -> Answer:
    """PATCH /jobschedules/{jobScheduleId}. Members that are not given keep their values."""
    return _change(call, is_whole=False)


def replace_job_schedule(call: Call) -> Answer:
    """PUT /jobschedules/{jobScheduleId}. Members that are not given return to their defaults."""
    return _change(call, is_whole=True)


def disable_job_schedule(call: Call) -> Answer:
    """POST /jobschedules/{jobScheduleId}/disable"""
    return _act(call, events.ScheduleDisabled, "active")


def enable_job_schedule(call: Call) -> Answer:
    """POST /jobschedules/{jobScheduleId}/enable"""
    return _act(call, events.ScheduleEnabled, "disabled")


def terminate_job_schedule(call: Call) -> Answer:
    """POST /jobschedules/{jobScheduleId}/terminate"""
    schedule = _changeable(call)
    schedule.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.ScheduleTerminated(schedule.key, jobs.is_forced(call)))
    return calls.changed(call, schedule.wire, 202)


def delete_job_schedule(call: Call) -> Answer:
    """DELETE /jobschedules/{jobScheduleId}"""
    schedule = _find(call)
    calls.check_conditions(call, schedule.wire, is_read=False)
    if schedule.state == "deleting" and not jobs.is_forced(call):
        raise ServiceFault(faults.JOB_SCHEDULE_BEING_DELETED)
    call.service.dispatch(events.ScheduleDeleted(schedule.key, jobs.is_forced(call)))
    return Answer(202)


def list_jobs_from_schedule(call: Call) -> Answer:
    """GET /jobschedules/{jobScheduleId}/jobs"""
    calls.check_expand(call)
    schedule = _find(call)
    found = {key: job for key, job in call.service.state.jobs.items() if job.schedule_key == schedule.key}
    return page(call, "jobs", sorted(found), lambda key: jobs.shown_job(call, found[key]), odata.JOBS_OF_SCHEDULE)


def _find(call: Call) -> Schedule:
    schedule = call.service.state.schedules.get(call.params["jobScheduleId"].lower())
    if schedule is None:
        raise ServiceFault(faults.JOB_SCHEDULE_NOT_FOUND)
    return schedule


def _changeable(call: Call) -> Schedule:
    schedule = _find(call)
    calls.check_conditions(call, schedule.wire, is_read=False)
    refusals = {
        "deleting": faults.JOB_SCHEDULE_BEING_DELETED,
        "terminating": faults.JOB_SCHEDULE_BEING_TERMINATED,
        "completed": faults.JOB_SCHEDULE_COMPLETED,
    }
    if schedule.state in refusals:
        raise ServiceFault(refusals[schedule.state])
    return schedule


def _act(call: Call, event: Callable[[str], Event], state: str) -> Answer:
    schedule = _changeable(call)
    if schedule.state == state:
        schedule.wire.update(calls.fresh(call.service))
        call.service.dispatch(event(schedule.key))
    return calls.changed(call, schedule.wire, 204)


def _change(call: Call, *, is_whole: bool) -> Answer:
    schedule = _changeable(call)
    body = calls.without_secrets(call.body)
    if "jobSpecification" in body:
        _check_specification(body["jobSpecification"])
        body["jobSpecification"] = job_spec.complete_specification(body["jobSpecification"])
        schedule.registries = job_spec.registries_of(call.body["jobSpecification"])
    _check_times(body.get("schedule", {}))
    names = ("schedule", "jobSpecification", "metadata")
    if is_whole:
        schedule.wire.pop("metadata", None)
        schedule.wire["schedule"] = {}
    schedule.wire.update({name: body[name] for name in names if name in body})
    schedule.wire.update(calls.fresh(call.service))
    if is_whole or "schedule" in body:
        call.service.dispatch(events.ScheduleUpdated(schedule.key))
    return calls.changed(call, schedule.wire)


def _check_specification(body: Json) -> None:
    if "autoPoolSpecification" in body["poolInfo"]:
        raise not_emulated("automatic pools of job schedules (autoPoolSpecification)")
    jobs.check_specification(body)


def _check_times(times: Json) -> None:
    for name in ("recurrenceInterval", "startWindow"):
        seconds = calls.seconds_of(times, name)
        if seconds is not None and seconds < _MIN_S:
            raise invalid_property(name, times[name], "The value must be at least 1 minute")
    until, after = (parse_time(times[name]) if name in times else None for name in ("doNotRunUntil", "doNotRunAfter"))
    if until and after and after <= until:
        raise invalid_property("doNotRunAfter", times["doNotRunAfter"], "The value must be later than doNotRunUntil")


def _url(call: Call, schedule: Schedule) -> str:
    return f"{call.base_url}/jobschedules/{schedule.id}"


def _shown(call: Call, schedule: Schedule) -> Json:
    shown = {"id": schedule.id, "url": _url(call, schedule), **schedule.wire}
    recent = schedule.wire["executionInfo"].get("recentJob")
    if recent:
        job = {"url": job_url(call.base_url, recent["id"]), **recent}
        shown["executionInfo"] = {**schedule.wire["executionInfo"], "recentJob": job}
    return shown
