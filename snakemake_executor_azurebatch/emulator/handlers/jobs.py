"""Operations on jobs.

Assumed: a new job that belongs to a missing pool waits for it; disabling a disabled job and enabling one that
is enabling are accepted, disabling one that is enabling is JobNotActive, enabling an active one is
OperationInvalidForCurrentState, and so is moving one that is not disabled to another pool (naming the pool it has
is no move); PUT without onAllTasksComplete leaves a terminatejob as it is.
"""

from __future__ import annotations

import uuid

from snakemake_executor_azurebatch.emulator import calls, events, faults, job_spec, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property, not_emulated
from snakemake_executor_azurebatch.emulator.handlers.pools import add_pool
from snakemake_executor_azurebatch.emulator.job_spec import JOB_DEFAULTS
from snakemake_executor_azurebatch.emulator.listing import element, page
from snakemake_executor_azurebatch.emulator.model import Job, Preparation
from snakemake_executor_azurebatch.emulator.wire import Json, job_url, node_url

_CHANGEABLE = (*JOB_DEFAULTS, "metadata", "networkConfiguration")
#: Location and DataServiceId of every new job name this one (source: recorded exchange).
_CREATION_NAME = "job-1"
_SPECIAL = ("jobPreparationTask", "jobReleaseTask")
_INFOS = ("jobPreparationTaskExecutionInfo", "jobReleaseTaskExecutionInfo")
_MAX_RELEASE_S = 900
_MAX_PREFIX = 20


def create_job(call: Call) -> Answer:
    """POST /jobs"""
    body = calls.without_secrets(call.body)
    job_id = calls.check_id(body["id"])
    check_specification(body)
    service = call.service
    existing = service.state.jobs.get(job_id.lower())
    if existing is not None:
        raise ServiceFault(faults.JOB_BEING_DELETED if existing.state == "deleting" else faults.JOB_EXISTS)
    if job_id.lower() in service.state.schedules:
        raise ServiceFault(faults.JOB_SCHEDULE_WITH_SAME_ID)
    check_quota(call)
    spec = job_spec.complete_specification(body)
    pool_id = body["poolInfo"].get("poolId") or _own_pool(call)
    secrets = job_spec.registries_of(call.body)
    job, tasks = job_spec.new_job(service.state, service.clock.now(), job_id, spec, pool_id, secrets)
    service.dispatch(events.JobAdded(job, tasks))
    return calls.created(job.wire, job_url(call.base_url, _CREATION_NAME))


def list_jobs(call: Call) -> Answer:
    """GET /jobs"""
    calls.check_expand(call)
    jobs = call.service.state.jobs
    return page(call, "jobs", sorted(jobs), lambda key: shown_job(call, jobs[key]), odata.JOBS)


def get_job(call: Call) -> Answer:
    """GET /jobs/{jobId}"""
    calls.check_expand(call)
    job = calls.find_job(call)
    calls.check_conditions(call, job.wire, is_read=True)
    return element(call, "jobs", shown_job(call, job))


def update_job(call: Call) -> Answer:
    """PATCH /jobs/{jobId}. Members that are not given keep their values."""
    return _change(call, {name: call.body[name] for name in _CHANGEABLE if name in call.body}, ())


def replace_job(call: Call) -> Answer:
    """PUT /jobs/{jobId}. Members that are not given return to their defaults."""
    given = {name: call.body[name] for name in _CHANGEABLE if name in call.body}
    return _change(call, {**JOB_DEFAULTS, **given}, ("metadata", "networkConfiguration"))


def disable_job(call: Call) -> Answer:
    """POST /jobs/{jobId}/disable"""
    job = _changeable(call)
    if job.state == "enabling":
        raise ServiceFault(faults.JOB_NOT_ACTIVE)
    job.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.JobDisabled(job.key, call.body["disableTasks"]))
    return calls.changed(call, job.wire, 202)


def enable_job(call: Call) -> Answer:
    """POST /jobs/{jobId}/enable"""
    job = _changeable(call)
    if job.state == "active":
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", "The job is not disabled"),))
    job.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.JobEnabled(job.key))
    return calls.changed(call, job.wire, 202)


def terminate_job(call: Call) -> Answer:
    """POST /jobs/{jobId}/terminate"""
    job = _changeable(call)
    job.wire.update(calls.fresh(call.service))
    reason = (call.body or {}).get("terminateReason", "UserTerminate")
    call.service.dispatch(events.JobTerminated(job.key, reason, is_forced(call)))
    return calls.changed(call, job.wire, 202)


def delete_job(call: Call) -> Answer:
    """DELETE /jobs/{jobId}"""
    job = calls.find_job(call)
    calls.check_conditions(call, job.wire, is_read=False)
    if job.state == "deleting" and not is_forced(call):
        raise ServiceFault(faults.JOB_BEING_DELETED)
    call.service.dispatch(events.JobDeleted(job.key, is_forced(call)))
    return Answer(202)


def get_job_task_counts(call: Call) -> Answer:
    """GET /jobs/{jobId}/taskcounts. Tasks that are preparing count as running."""
    job = calls.find_job(call)
    names = ("active", "running", "completed", "succeeded", "failed")
    counts, slots = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for task in job.tasks.values():
        shown = ["running" if task.state == "preparing" else task.state]
        if task.state == "completed":
            is_good = task.wire["executionInfo"]["result"] == "success"
            shown.append("succeeded" if is_good else "failed")
        for name in shown:
            counts[name] += 1
            slots[name] += task.slots
    body = {"taskCounts": counts, "taskSlotCounts": slots}
    return element(call, "taskcountsresult", body, versioned=False)


def list_job_preparation_and_release_task_status(call: Call) -> Answer:
    """GET /jobs/{jobId}/jobpreparationandreleasetaskstatus"""
    job = calls.find_job(call)
    if not any(name in job.wire for name in _SPECIAL):
        raise ServiceFault(faults.NO_SPECIAL_TASKS)
    found = job.preparations
    kind = "jobpreparationandreleasetaskstatuslist"
    return page(call, kind, sorted(found), lambda key: _shown_status(call, found[key]), odata.JOB_TASK_STATUSES)


# -- shared with tasks and job schedules ----------------------------------------------------------


def refuse_if_ending(job: Job) -> None:
    """409 for a job that is being ended, has ended, or is being deleted."""
    refusals = {
        "deleting": faults.JOB_BEING_DELETED,
        "terminating": faults.JOB_BEING_TERMINATED,
        "completed": faults.JOB_COMPLETED,
    }
    if job.state in refusals:
        raise ServiceFault(refusals[job.state])


def is_forced(call: Call) -> bool:
    """Whether the query asks for an end that waits for nothing."""
    return call.query.get("force", "").lower() == "true"


def check_quota(call: Call) -> None:
    """409 where the account has as many active jobs and schedules as it may have."""
    limit, injected = call.service.config.max_active_jobs, call.service.injection.job_limit()
    if call.service.state.active_count() >= (limit if injected is None else min(limit, injected)):
        raise ServiceFault(faults.ACTIVE_JOB_QUOTA)


def check_specification(body: Json) -> None:
    """400 or 501 for a job, or the jobSpecification of a schedule, that cannot be."""
    _check_limits(body)
    info = body["poolInfo"]
    if bool(info.get("poolId")) == ("autoPoolSpecification" in info):
        raise invalid_property("poolInfo", info, "Either poolId or autoPoolSpecification is required")
    if "pool" not in info.get("autoPoolSpecification", {"pool": None}):
        raise invalid_property("autoPoolSpecification", "", "The specification of the pool is required")
    if "jobReleaseTask" in body and "jobPreparationTask" not in body:
        reason = "A job release task needs a job preparation task"
        raise invalid_property("jobReleaseTask", body["jobReleaseTask"].get("id", ""), reason)
    _check_special_tasks(body)


def check_retries(constraints: Json) -> None:
    """-1 means for ever, less means nothing."""
    retries = constraints.get("maxTaskRetryCount", 0)
    if retries < -1:
        raise invalid_property("maxTaskRetryCount", retries, "The value must be at least -1")


def shown_job(call: Call, job: Job) -> Json:
    """The job as answers show it."""
    return {"id": job.id, "url": job_url(call.base_url, job.id), **job.wire}


def _own_pool(call: Call) -> str:
    """Make the pool that lives as long as the job; answers its id (source: recorded exchange for its form)."""
    spec = call.body["poolInfo"]["autoPoolSpecification"]
    if spec["poolLifetimeOption"] != "job":
        reason = "A job that belongs to no job schedule can have a pool for its own lifetime only"
        raise invalid_property("poolLifetimeOption", spec["poolLifetimeOption"], reason)
    prefix = spec.get("autoPoolIdPrefix", "")
    if len(prefix) > _MAX_PREFIX:
        raise invalid_property("autoPoolIdPrefix", prefix, f"The value must have at most {_MAX_PREFIX} characters")
    return add_pool(call, {**spec["pool"], "id": prefix + str(uuid.uuid4()).upper()}).id


def _check_special_tasks(body: Json) -> None:
    named = {"jobPreparationTask": "jobpreparation", "jobReleaseTask": "jobrelease", "jobManagerTask": ""}
    seen: set[str] = set()
    for member in [name for name in named if name in body]:
        task = body[member]
        task_id = calls.check_id(task.get("id", named[member]))
        if task_id.lower() in seen:
            raise invalid_property("id", task_id, "Another task of the job has this id")
        seen.add(task_id.lower())
        calls.refuse(task, {"applicationPackageReferences": "application packages"})
        check_retries(task.get("constraints", {}))
    limit = calls.seconds_of(body.get("jobReleaseTask", {}), "maxWallClockTime")
    if limit is not None and limit > _MAX_RELEASE_S:
        reason = "A job release task may run for 15 minutes at most"
        raise invalid_property("maxWallClockTime", body["jobReleaseTask"]["maxWallClockTime"], reason)


def _changeable(call: Call) -> Job:
    job = calls.find_job(call)
    calls.check_conditions(call, job.wire, is_read=False)
    refuse_if_ending(job)
    return job


def _change(call: Call, changes: Json, dropped: tuple[str, ...]) -> Answer:
    job = _changeable(call)
    _check_limits(changes)
    _check_end(job, call.body, changes)
    moved_to = _new_pool(job, call.body.get("poolInfo"))
    if "constraints" in changes:
        changes["constraints"] = {**JOB_DEFAULTS["constraints"], **changes["constraints"]}
    for name in dropped:
        job.wire.pop(name, None)
    job.wire.update(changes)
    job.wire.update(calls.fresh(call.service))
    if moved_to:
        job.wire["poolInfo"] = call.body["poolInfo"]
        call.service.dispatch(events.JobMoved(job.key, moved_to))
    call.service.dispatch(events.JobUpdated(job.key))
    return calls.changed(call, job.wire)


def _check_end(job: Job, given: Json, changes: Json) -> None:
    """Once a job ends with its last task, that cannot be turned off (source: public documentation)."""
    if job.wire["onAllTasksComplete"] != "terminatejob":
        return
    if given.get("onAllTasksComplete") == "noaction":
        reason = "The value cannot be changed from terminatejob to noaction"
        raise invalid_property("onAllTasksComplete", "noaction", reason)
    changes.pop("onAllTasksComplete", None)


def _new_pool(job: Job, info: Json | None) -> str | None:
    """Id of the pool that the job is to move to."""
    if info is None or info.get("poolId", "").lower() == job.pool_key or info == job.wire["poolInfo"]:
        return None
    automatic = job.wire["poolInfo"].get("autoPoolSpecification")
    if "autoPoolSpecification" in info and automatic:  # nothing else of it can be changed
        automatic["keepAlive"] = info["autoPoolSpecification"].get("keepAlive", automatic["keepAlive"])
        return None
    if "autoPoolSpecification" in info:
        raise not_emulated("changing to an automatic pool (autoPoolSpecification)")
    if not info.get("poolId"):
        raise invalid_property("poolInfo", info, "poolId or autoPoolSpecification is required")
    if job.state != "disabled":
        reason = "A job can be moved to another pool only while it is disabled"
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", reason),))
    return str(info["poolId"])


def _check_limits(body: Json) -> None:
    calls.refuse(body, {"allowTaskPreemption": "preemption of tasks by other jobs"})
    calls.check_range(body, "priority", -1000, 1000)
    limit = body.get("maxParallelTasks")
    if limit is not None and limit != -1 and limit < 1:
        raise invalid_property("maxParallelTasks", limit, "The value must be -1 or greater than 0")
    check_retries(body.get("constraints", {}))


def _shown_status(call: Call, found: Preparation) -> Json:
    url = node_url(call.base_url, found.pool_id, found.node_id)
    shown = {**found.wire, "nodeUrl": url}
    for name in _INFOS:
        if name in shown:
            directory_url = f"{url}/files/{shown[name]['taskRootDirectory']}"
            shown[name] = {**shown[name], "taskRootDirectoryUrl": directory_url}
    return shown
