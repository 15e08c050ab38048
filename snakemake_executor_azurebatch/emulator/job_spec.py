"""A new job, and a new task, as the service stores them: defaults filled in (source: recorded exchanges)."""

from __future__ import annotations

from datetime import datetime

from snakemake_executor_azurebatch.emulator.model import Job, Task
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.wire import UNLIMITED, Json, etag_text, ticks, time_text

#: What PATCH and PUT of a job can change, with the values that PUT and creation fall back to.
JOB_DEFAULTS: Json = {
    "priority": 0,
    "maxParallelTasks": -1,
    "allowTaskPreemption": False,
    "constraints": {"maxWallClockTime": UNLIMITED, "maxTaskRetryCount": 0},
    "onAllTasksComplete": "noaction",
}
_IDENTITY: Json = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
_TASK_LIMITS: Json = {"maxWallClockTime": UNLIMITED, "retentionTime": "P7D", "maxTaskRetryCount": 0}
_PREPARATION: Json = {
    "id": "jobpreparation",
    "userIdentity": _IDENTITY,
    "waitForSuccess": True,
    "rerunOnNodeRebootAfterSuccess": True,
}
_RELEASE: Json = {
    "id": "jobrelease",
    "maxWallClockTime": "PT15M",
    "retentionTime": "P7D",
    "userIdentity": _IDENTITY,
}
_MANAGER: Json = {
    "requiredSlots": 1,
    "killJobOnCompletion": True,
    "userIdentity": _IDENTITY,
    "runExclusive": True,
    "allowLowPriorityNode": True,
}
_SPECIAL = ("jobPreparationTask", "jobReleaseTask", "jobManagerTask")
#: Members of a job manager task that are no members of a task.
_MANAGER_ONLY = ("killJobOnCompletion", "runExclusive", "allowLowPriorityNode")
_POOL_DEFAULTS: Json = {
    "resizeTimeout": "PT15M",
    "targetDedicatedNodes": 0,
    "targetLowPriorityNodes": 0,
    "enableAutoScale": False,
    "enableInterNodeCommunication": False,
    "taskSlotsPerNode": 1,
}


def version(state: State, now: datetime) -> Json:
    """``eTag`` and ``lastModified`` of something that changes now."""
    return {"eTag": etag_text(state.etag(ticks(now))), "lastModified": time_text(now)}


def complete_specification(body: Json) -> Json:
    """A job, or the jobSpecification of a schedule, with its defaults."""
    spec: Json = {"usesTaskDependencies": False, "onTaskFailure": "noaction", **JOB_DEFAULTS, **body}
    spec["constraints"] = {**JOB_DEFAULTS["constraints"], **body.get("constraints", {})}
    retries = spec["constraints"]["maxTaskRetryCount"]
    if "jobPreparationTask" in body:
        spec["jobPreparationTask"] = _special(_PREPARATION, body["jobPreparationTask"], 0)
    if "jobReleaseTask" in body:
        spec["jobReleaseTask"] = {**_RELEASE, **body["jobReleaseTask"]}
    if "jobManagerTask" in body:
        spec["jobManagerTask"] = _special(_MANAGER, body["jobManagerTask"], retries)
    if "autoPoolSpecification" in body["poolInfo"]:
        spec["poolInfo"] = {"autoPoolSpecification": _auto_pool(body["poolInfo"]["autoPoolSpecification"])}
    return spec


def registry_of(task: Json | None) -> Json | None:
    """Where a task's container image comes from, password included; bodies that are shown have none."""
    return ((task or {}).get("containerSettings") or {}).get("registry")


def registries_of(body: Json) -> dict[str, Json]:
    """The registries of a job's special tasks, by the member that holds the task."""
    found = {name: registry_of(body.get(name)) for name in _SPECIAL}
    return {name: registry for name, registry in found.items() if registry}


def with_registry(body: Json, registry: Json | None) -> Json:
    """A task for its node, which needs the password."""
    if not registry:
        return body
    return {**body, "containerSettings": {**body["containerSettings"], "registry": registry}}


def new_job(
    state: State, now: datetime, job_id: str, spec: Json, pool_id: str, registries: dict[str, Json]
) -> tuple[Job, list[Task]]:
    """A job of a complete specification, not yet added, and its job manager task if it has one."""
    stamps = version(state, now)
    moment = stamps["lastModified"]
    wire: Json = {
        "id": job_id,
        **stamps,
        "creationTime": moment,
        "state": "active",
        "stateTransitionTime": moment,
        **spec,
        "executionInfo": {"startTime": moment, "poolId": pool_id},
    }
    wire["id"] = job_id
    job = Job(job_id, job_id.lower(), state.number(), pool_id.lower(), wire, now, registries=registries)
    manager = spec.get("jobManagerTask")
    if manager is None:
        return job, []
    body = {name: value for name, value in manager.items() if name not in _MANAGER_ONLY}
    task = new_task(state, now, job, body)
    task.is_exclusive, task.registry = manager["runExclusive"], registries.get("jobManagerTask")
    return job, [task]


def new_task(state: State, now: datetime, job: Job, body: Json) -> Task:
    """A task, not yet added."""
    stamps = version(state, now)
    moment = stamps["lastModified"]
    wire: Json = {
        "id": body["id"],
        **stamps,
        "creationTime": moment,
        "state": "active",
        "stateTransitionTime": moment,
        "userIdentity": _IDENTITY,
        "requiredSlots": 1,
        **body,
        "constraints": task_constraints(job, body),
        "executionInfo": {"retryCount": 0, "requeueCount": 0},
    }
    task_id = str(body["id"])
    return Task(task_id, task_id.lower(), job.key, wire["requiredSlots"], wire)


def task_constraints(job: Job, body: Json) -> Json:
    """A task's constraints with their defaults; the retry count is the job's unless the task has its own."""
    retries = job.wire["constraints"]["maxTaskRetryCount"]
    return {**_TASK_LIMITS, "maxTaskRetryCount": retries, **body.get("constraints", {})}


def _special(defaults: Json, body: Json, retries: int) -> Json:
    limits = {**_TASK_LIMITS, "maxTaskRetryCount": retries, **body.get("constraints", {})}
    return {**defaults, **body, "constraints": limits}


def _auto_pool(given: Json) -> Json:
    spec = {"keepAlive": False, **given}
    if "pool" in given:
        policy = {"nodeFillType": "Spread", **given["pool"].get("taskSchedulingPolicy", {})}
        spec["pool"] = {**_POOL_DEFAULTS, **given["pool"], "taskSchedulingPolicy": policy}
        spec["pool"]["vmSize"] = spec["pool"]["vmSize"].lower()
    return spec
