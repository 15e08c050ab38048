"""A job's preparation and release tasks on the nodes.

The preparation task runs once on a node before the job's first task there, again after a reimage, and after
a reboot if it wants that or had not succeeded; the release task runs where it ran (source: public
documentation), but not where the node was emptied since. Neither takes a slot.

Assumed: every task that gets a place while its node prepares is ``preparing``, and returns to ``active``
without a requeue where the preparation fails; a node that is not idle, running or offline when the job
ends runs no release task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakemake_executor_azurebatch.emulator import instructions, job_spec
from snakemake_executor_azurebatch.emulator.agent.work import (
    ContainerInfo,
    TaskFailure,
    TaskOutcome,
    task_root_directory,
)
from snakemake_executor_azurebatch.emulator.model import Job, Node, Preparation, Run, Task
from snakemake_executor_azurebatch.emulator.wire import Json, time_text

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.emulator.engine_core import Turn

PREPARATION: Final = "jobpreparation"
RELEASE: Final = "jobrelease"
_PREPARED = "jobPreparationTaskExecutionInfo"
_RELEASED = "jobReleaseTaskExecutionInfo"


def must_wait(turn: Turn, job: Job, node: Node) -> bool:
    """Whether a task that got its place on the node has to wait; the preparation is started where it is due."""
    body = job.wire.get("jobPreparationTask")
    if body is None:
        return False
    found = job.preparations.get(node.id)
    if found is None or _is_outdated(found, node, body):
        found = _prepare(turn, job, node, body)
    return bool(found.state == "running" and body["waitForSuccess"])


def preparation_ended(turn: Turn, job: Job, run: Run, outcome: TaskOutcome) -> None:
    """Retry it, or let the tasks that waited for it run, or send them back."""
    body = job.wire["jobPreparationTask"]
    found = job.preparations[run.node_id]
    info = found.wire[_PREPARED]
    if run.ending is None and outcome.exit_code and _has_retries(body, info):
        info["retryCount"] += 1
        info["lastRetryTime"] = turn.stamp
        _start(turn, job, found, body)
        return
    _complete(info, outcome)
    found.run = None
    found.state = "ready" if outcome.succeeded or not body["waitForSuccess"] else "failed"
    if run.ending is not None:  # the node's boot or the job ends: that was no real attempt
        found.boot = -1
    for held in _held(turn, job, run.node_id):
        task = turn.state.task(held)
        if task and held.ending is None:
            _go_on(turn, job, task, held, is_ready=found.state == "ready")


def release(turn: Turn, job: Job) -> None:
    """Start the release task on every node where the job was prepared."""
    body = job.wire.get("jobReleaseTask")
    for found in job.preparations.values() if body else ():
        node = turn.state.node(found.pool_id.lower(), found.node_id)
        is_there = node and not node.is_leaving and node.wire["state"] in ("idle", "running", "offline")
        if node and is_there and found.run is None and found.boot >= node.emptied:
            _release(turn, job, node, found)


def release_ended(job: Job, run: Run, outcome: TaskOutcome) -> None:
    """Its failure keeps nothing from going on."""
    found = job.preparations[run.node_id]
    _complete(found.wire[_RELEASED], outcome)
    found.run = None


def files(turn: Turn, job: Job) -> list[instructions.RemoveTaskFiles]:
    """The directories of both tasks on nodes that are still there."""
    names = [job.wire[name]["id"] for name in ("jobPreparationTask", "jobReleaseTask") if name in job.wire]
    return [
        instructions.RemoveTaskFiles(found.pool_id.lower(), found.node_id, job.id, name)
        for found in job.preparations.values()
        if turn.state.node(found.pool_id.lower(), found.node_id)
        for name in names
    ]


def _is_outdated(found: Preparation, node: Node, body: Json) -> bool:
    if found.state == "running" or found.boot == node.boot:
        return False
    return found.boot < node.emptied or found.state != "ready" or bool(body["rerunOnNodeRebootAfterSuccess"])


def _prepare(turn: Turn, job: Job, node: Node, body: Json) -> Preparation:
    pool_id = turn.state.pools[node.pool_key].id
    wire: Json = {"poolId": pool_id, "nodeId": node.id}
    wire[_PREPARED] = {**_new_info(turn, job, body["id"]), "retryCount": 0}
    found = job.preparations[node.id] = Preparation(pool_id, node.id, node.boot, wire)
    _start(turn, job, found, body)
    return found


def _start(turn: Turn, job: Job, found: Preparation, body: Json) -> None:
    node = turn.state.pools[found.pool_id.lower()].nodes[found.node_id]
    found.run = turn.new_run(job, node, body["id"], PREPARATION)
    whole = job_spec.with_registry(body, job.registries.get("jobPreparationTask"))
    turn.out.append(instructions.StartJobTask(found.run, job, whole))
    turn.show_node(node)


def _release(turn: Turn, job: Job, node: Node, found: Preparation) -> None:
    body = job.wire["jobReleaseTask"]
    found.wire[_RELEASED] = _new_info(turn, job, body["id"])
    found.run = turn.new_run(job, node, body["id"], RELEASE)
    whole = job_spec.with_registry(body, job.registries.get("jobReleaseTask"))
    limits = {"maxWallClockTime": body["maxWallClockTime"]}
    turn.out.append(instructions.StartJobTask(found.run, job, {**whole, "constraints": limits}))
    turn.show_node(node)


def _new_info(turn: Turn, job: Job, task_id: str) -> Json:
    return {"startTime": turn.stamp, "state": "running", "taskRootDirectory": task_root_directory(job.id, task_id)}


def _has_retries(body: Json, info: Json) -> bool:
    limit = body["constraints"]["maxTaskRetryCount"]
    return bool(limit < 0 or info["retryCount"] < limit)


def _held(turn: Turn, job: Job, node_id: str) -> list[Run]:
    runs = [run for run in job.runs.values() if run.is_held and run.node_id == node_id]
    return sorted(runs, key=lambda run: run.number)


def _go_on(turn: Turn, job: Job, task: Task, held: Run, *, is_ready: bool) -> None:
    if is_ready:
        turn.begin(job, task, held)
        return
    turn.forget_run(job, turn.state.pools[held.pool_key].nodes[held.node_id], held)
    task.run = None
    task.wire.pop("nodeInfo", None)
    turn.move(task.wire, "active")
    turn.wait(job, task, first=True)


def _complete(info: Json, outcome: TaskOutcome) -> None:
    info["state"] = "completed"
    show_outcome(info, outcome)


def show_outcome(info: Json, outcome: TaskOutcome) -> None:
    """Write into an executionInfo how a run ended."""
    info["endTime"] = time_text(outcome.end_time)
    if outcome.exit_code is not None:
        info["exitCode"] = outcome.exit_code
    if outcome.container is not None:
        info["containerInfo"] = _container_wire(outcome.container)
    info["result"] = "success" if outcome.succeeded else "failure"
    if not outcome.succeeded:
        info["failureInfo"] = _failure_wire(outcome)


def _container_wire(container: ContainerInfo) -> Json:
    wire: Json = {"containerId": container.container_id, "state": container.state}
    return {**wire, "error": container.error} if container.error else wire


def _failure_wire(outcome: TaskOutcome) -> Json:
    failure = outcome.failure or TaskFailure(
        "usererror",
        "FailureExitCode",
        "The task exited with an exit code representing a failure",
        (("Message", f"The task exited with exit code {outcome.exit_code}"),),
    )
    wire: Json = {"category": failure.category, "code": failure.code, "message": failure.message}
    if failure.details:
        wire["details"] = [{"name": name, "value": value} for name, value in failure.details]
    return wire
