"""Operations on tasks.

Assumed: an item that failed in a collection has the status ``clienterror``. The service writes
``Success`` with a capital, so it may well write ``ClientError``; azure-batch 15.1 compares with
``clienterror`` exactly and would then take failed items for created ones. The spelling that lets clients
see the error is used. Ranges of dependencies are limited as the list of ids is: to 64,000 characters.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import calls, events, exit_conditions, faults, job_spec, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property
from snakemake_executor_azurebatch.emulator.handlers.jobs import check_retries, refuse_if_ending
from snakemake_executor_azurebatch.emulator.listing import element, rendered_page
from snakemake_executor_azurebatch.emulator.model import Job, Task
from snakemake_executor_azurebatch.emulator.wire import Json, job_url, node_url, task_url

_REFUSED = {
    "multiInstanceSettings": "multi-instance tasks",
    "applicationPackageReferences": "application packages",
    "authenticationTokenSettings": "authentication tokens",
}
_MAX_COLLECTION = 100
_MAX_SLOTS = 256
#: Of all ids a task depends on (source: public documentation).
_MAX_DEPENDENCY_CHARACTERS = 64_000


def create_task(call: Call) -> Answer:
    """POST /jobs/{jobId}/tasks"""
    job = calls.find_job(call)
    refuse_if_ending(job)
    task = _new_task(call, job, call.body, {})
    call.service.dispatch(events.TasksAdded(job.key, [task]))
    return calls.created(task.wire, task_url(call.base_url, job.id, task.id))


def create_task_collection(call: Call) -> Answer:
    """POST /jobs/{jobId}/addtaskcollection. Each item has a status of its own."""
    job = calls.find_job(call)
    refuse_if_ending(job)
    bodies = call.body["value"]
    if len(bodies) > _MAX_COLLECTION:
        raise invalid_property("value", len(bodies), f"A collection has at most {_MAX_COLLECTION} tasks")
    new: dict[str, Task] = {}
    results = [_add(call, job, body, new) for body in bodies]
    call.service.dispatch(events.TasksAdded(job.key, list(new.values())))
    metadata = f"{call.base_url}/$metadata#taskaddresult"
    return Answer(200, {"odata.metadata": metadata, "value": results}, items=len(bodies))


def list_tasks(call: Call) -> Answer:
    """GET /jobs/{jobId}/tasks"""
    calls.check_expand(call)
    job = calls.find_job(call)
    tasks = dict(job.tasks)  # looked at only: nothing is to be saved
    return rendered_page(
        call,
        "tasks",
        job.sorted_keys(),
        lambda key: _shown(call, job, tasks[key]),
        (odata.TASKS, lambda key: tasks[key].wire),
    )


def get_task(call: Call) -> Answer:
    """GET /jobs/{jobId}/tasks/{taskId}"""
    calls.check_expand(call)
    job, task = calls.find_task(call)
    calls.check_conditions(call, task.wire, is_read=True)
    return element(call, "tasks", _shown(call, job, task))  # no DataServiceId (source: recorded exchange)


def replace_task(call: Call) -> Answer:
    """PUT /jobs/{jobId}/tasks/{taskId}. Only the constraints are honoured."""
    job, task = calls.find_task(call)
    calls.check_conditions(call, task.wire, is_read=False)
    if task.state == "completed":
        raise ServiceFault(faults.TASK_COMPLETED)
    check_retries(call.body.get("constraints", {}))
    task.wire["constraints"] = job_spec.task_constraints(job, call.body)
    task.wire.update(calls.fresh(call.service))
    return calls.changed(call, task.wire)


def terminate_task(call: Call) -> Answer:
    """POST /jobs/{jobId}/tasks/{taskId}/terminate"""
    job, task = calls.find_task(call)
    calls.check_conditions(call, task.wire, is_read=False)
    if task.state == "completed":
        raise ServiceFault(faults.TASK_COMPLETED)
    task.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.TaskTerminated(job.key, task.key))
    return calls.changed(call, task.wire, 204)


def reactivate_task(call: Call) -> Answer:
    """POST /jobs/{jobId}/tasks/{taskId}/reactivate. Only a task that completed and did not succeed."""
    job, task = calls.find_task(call)
    calls.check_conditions(call, task.wire, is_read=False)
    refuse_if_ending(job)
    if task.state != "completed":
        raise ServiceFault(faults.TASK_NOT_COMPLETED)
    if task.wire["executionInfo"]["result"] == "success":
        raise ServiceFault(faults.TASK_SUCCEEDED)
    task.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.TaskReactivated(job.key, task.key))
    return Answer(204, headers=calls.version_headers(task.wire))  # no DataServiceId (source: recorded exchange)


def list_subtasks(call: Call) -> Answer:
    """GET /jobs/{jobId}/tasks/{taskId}/subtasksinfo. Only multi-instance tasks have any; nothing is paged."""
    calls.find_task(call)
    return Answer(200, {"odata.metadata": f"{call.base_url}/$metadata#subtasks", "value": []})


def delete_task(call: Call) -> Answer:
    """DELETE /jobs/{jobId}/tasks/{taskId}"""
    job, task = calls.find_task(call)
    calls.check_conditions(call, task.wire, is_read=False)
    call.service.dispatch(events.TaskDeleted(job.key, task.key))
    return Answer(200)


def _add(call: Call, job: Job, body: Json, new: dict[str, Task]) -> Json:
    url = task_url(call.base_url, job.id, body["id"])
    if call.service.injection.of_item():
        busy = {"code": faults.SERVER_BUSY.code, "message": {"lang": "en-US", "value": faults.SERVER_BUSY.sentence}}
        return {"status": "servererror", "taskId": body["id"], "location": url, "error": busy}
    try:
        task = _new_task(call, job, body, new)
    except ServiceFault as problem:
        if problem.fault is faults.NOT_EMULATED:
            raise
        error: Json = {
            "code": problem.fault.code,
            "message": {"lang": "en-US", "value": problem.sentence},
        }
        if problem.values:
            error["values"] = [{"key": key, "value": value} for key, value in problem.values]
        return {"status": "clienterror", "taskId": body["id"], "location": url, "error": error}
    new[task.key] = task
    version = {name: task.wire[name] for name in ("eTag", "lastModified")}
    return {"status": "Success", "taskId": task.id, **version, "location": url}


def _new_task(call: Call, job: Job, given: Json, others: dict[str, Task]) -> Task:
    """The task, not yet added. ``others`` come with it in one collection."""
    body = calls.without_secrets(given)
    calls.refuse(body, _REFUSED)
    task_id = calls.check_id(body["id"])
    if task_id.lower() in job.tasks or task_id.lower() in others:
        raise ServiceFault(faults.TASK_EXISTS)
    _refuse_special_ids(job, task_id.lower())
    calls.check_range(body, "requiredSlots", 1, _MAX_SLOTS)
    _check_dependencies(job, body.get("dependsOn") or {})
    _check_exit_conditions(job, body.get("exitConditions"))
    check_retries(body.get("constraints", {}))
    task = job_spec.new_task(call.service.state, call.service.clock.now(), job, body)
    task.registry = job_spec.registry_of(given)
    return task


def _refuse_special_ids(job: Job, key: str) -> None:
    known = (("jobPreparationTask", faults.TASK_IS_PREPARATION), ("jobReleaseTask", faults.TASK_IS_RELEASE))
    for member, fault in known:
        if member in job.wire and job.wire[member]["id"].lower() == key:
            raise ServiceFault(fault)


def _check_dependencies(job: Job, depends_on: Json) -> None:
    ids, ranges = depends_on.get("taskIds") or [], depends_on.get("taskIdRanges") or []
    if (ids or ranges) and not job.wire["usesTaskDependencies"]:
        raise ServiceFault(faults.NO_DEPENDENCIES)
    if sum(map(len, ids)) > _MAX_DEPENDENCY_CHARACTERS:
        raise ServiceFault(faults.DEPENDENCY_LIST_TOO_LONG)
    if sum(len(f"{entry['start']}{entry['end']}") for entry in ranges) > _MAX_DEPENDENCY_CHARACTERS:
        raise ServiceFault(faults.DEPENDENCY_RANGES_TOO_LONG)
    _check_ranges("taskIdRanges", ranges)


def _check_exit_conditions(job: Job, conditions: Json | None) -> None:
    for options in exit_conditions.all_options(conditions):
        if "jobAction" in options and job.wire["onTaskFailure"] == "noaction":
            reason = "The job's onTaskFailure is noaction"
            raise invalid_property("jobAction", options["jobAction"], reason)
    _check_ranges("exitCodeRanges", (conditions or {}).get("exitCodeRanges") or [])


def _check_ranges(name: str, ranges: list[Json]) -> None:
    for entry in ranges:
        if entry["start"] > entry["end"]:
            raise invalid_property(name, f"{entry['start']}-{entry['end']}", "A range must not end before it starts")


def _shown(call: Call, job: Job, task: Task) -> Json:
    shown = {"id": task.id, "url": f"{job_url(call.base_url, job.id)}/tasks/{task.id}", **task.wire}
    info = task.wire.get("nodeInfo")
    if info:
        url = node_url(call.base_url, info["poolId"], info["nodeId"])
        directory_url = f"{url}/files/{info['taskRootDirectory']}"
        shown["nodeInfo"] = {**info, "nodeUrl": url, "taskRootDirectoryUrl": directory_url}
    return shown
