"""How tasks behave.

    task   active -> (preparing ->) running -> completed; back to active on retry, requeue, reactivation

Assumed where the documentation is silent: a task that ran out of its wall clock is retried as one that
exited non-zero; a retried task goes to the front of the queue; a task that finished by itself while it was
being stopped counts as finished; a task terminated before it ran has no exit code and result failure; a task
that was ended by a request causes no job action.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from heapq import heappop, heappush

from snakemake_executor_azurebatch.emulator import engine_jobs, engine_preparation, events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.engine_core import TASK_ENDED, Turn
from snakemake_executor_azurebatch.emulator.engine_nodes import close_if_empty
from snakemake_executor_azurebatch.emulator.exit_conditions import exit_options
from snakemake_executor_azurebatch.emulator.model import Ending, Job, Node, Run, Task
from snakemake_executor_azurebatch.emulator.wire import duration_s

#: Tasks that a node shows as its recent ones.
_RECENT = 10
_RETENTION = "P7D"


def tasks_added(turn: Turn, event: events.TasksAdded) -> None:
    """New tasks wait for others or for a node, for ever where their pool is missing."""
    job = turn.state.jobs[event.job_key]
    turn.add_tasks(job, event.tasks)
    turn.place(job.pool_key)


def task_terminated(turn: Turn, event: events.TaskTerminated) -> None:
    """A running task is completed once its processes are gone, a waiting one at once."""
    job = turn.state.jobs[event.job_key]
    task = job.tasks[event.task_key]
    if task.run:
        turn.stop(task.run, Ending.TERMINATE)
    elif task.state != "completed":
        _complete(turn, job, task, TaskOutcome(None, turn.now, turn.now, TASK_ENDED), may_act=False)


def task_deleted(turn: Turn, event: events.TaskDeleted) -> None:
    """The task is gone at once; its processes and files follow."""
    job = turn.state.jobs[event.job_key]
    task = job.tasks[event.task_key]
    if task.run:
        turn.stop(task.run, Ending.DROP)
        task.run = None
    else:
        turn.out.extend(engine_jobs.task_files(turn, job, task))
    job.dependencies.forget(task.key)
    del job.tasks[task.key]
    job.order = None
    if task.state != "completed":
        job.open_tasks -= 1
        engine_jobs.watch_all_complete(turn, job)


def task_reactivated(turn: Turn, event: events.TaskReactivated) -> None:
    """The task begins anew, its counters included (source: recorded exchange)."""
    job = turn.state.jobs[event.job_key]
    task = job.tasks[event.task_key]
    job.dependencies.forget(task.key)
    job.open_tasks += 1
    task.files_due, task.files_expired = None, False
    task.wire["executionInfo"] = {"retryCount": 0, "requeueCount": 0}
    task.wire.pop("nodeInfo", None)
    turn.move(task.wire, "active")
    turn.wait(job, task)
    turn.place(job.pool_key)


def run_ended(turn: Turn, event: events.RunEnded) -> None:
    """Free the slots, then decide what becomes of the task."""
    run = event.run
    if run.number not in turn.state.runs:
        return
    task = turn.state.task(run)
    job = turn.state.jobs.get(run.job_key)
    if job and run.number not in job.runs:
        job = None  # its job was deleted by force, and another has its id
    node = turn.state.pools[run.pool_key].nodes[run.node_id]  # both stay until their runs have ended
    turn.forget_run(job, node, run)
    if job:
        _conclude(turn, job, task, run, event.outcome)
    if task is None and run.kind == "task" and run.ending is Ending.DROP:
        turn.out.append(instructions.RemoveTaskFiles(run.pool_key, run.node_id, run.job_id, run.task_id))
    if job and task:
        _show_recent(node, job, task)
    close_if_empty(turn, node)
    if job:
        engine_jobs.finish(turn, job)
    turn.place(run.pool_key)


def files_due(turn: Turn, event: events.FilesDue) -> None:
    """Remove the files of tasks whose retention time is over."""
    if turn.state.files_timer and turn.state.files_timer <= turn.now:
        turn.state.files_timer = None
    heap = _all_expiries(turn)
    while heap and heap[0][0] <= turn.now:
        moment, job_key, task_key = heappop(heap)
        job = turn.state.jobs.get(job_key)
        task = job.tasks.get(task_key) if job else None
        if job and task and task.files_due == moment:
            task.files_due, task.files_expired = None, True
            turn.out.extend(engine_jobs.task_files(turn, job, task))
    _watch_expiries(turn)


def _conclude(turn: Turn, job: Job, task: Task | None, run: Run, outcome: TaskOutcome) -> None:
    if run.kind == engine_preparation.PREPARATION:
        engine_preparation.preparation_ended(turn, job, run, outcome)
    elif run.kind == engine_preparation.RELEASE:
        engine_preparation.release_ended(job, run, outcome)
    elif task:
        _decide(turn, job, task, run, outcome)


def _decide(turn: Turn, job: Job, task: Task, run: Run, outcome: TaskOutcome) -> None:
    task.run = None
    was_stopped = run.ending is not None and outcome.failure is not None and outcome.failure.code == "TaskEnded"
    if was_stopped and run.ending is Ending.REQUEUE:
        _again(turn, job, task, "requeueCount", "lastRequeueTime")
    elif run.ending is None and _may_retry(job, task, outcome):
        _again(turn, job, task, "retryCount", "lastRetryTime")
    else:
        _complete(turn, job, task, outcome, may_act=not was_stopped)


def _may_retry(job: Job, task: Task, outcome: TaskOutcome) -> bool:
    """Only a non-zero exit is retried, never trouble before the command (source: public documentation)."""
    limit = task.wire["constraints"]["maxTaskRetryCount"]
    if not outcome.exit_code or job.state not in engine_jobs.LIVE:
        return False
    return bool(limit < 0 or task.wire["executionInfo"]["retryCount"] < limit)


def _again(turn: Turn, job: Job, task: Task, counter: str, moment: str) -> None:
    info = task.wire["executionInfo"]
    info[counter] += 1
    info[moment] = turn.stamp
    if counter == "requeueCount":
        task.wire.pop("nodeInfo", None)
    turn.move(task.wire, "active")
    turn.wait(job, task, first=True)


def _complete(turn: Turn, job: Job, task: Task, outcome: TaskOutcome, *, may_act: bool) -> None:
    """``may_act``: what the task's end means for its job may happen."""
    engine_preparation.show_outcome(task.wire["executionInfo"], outcome)
    turn.move(task.wire, "completed")
    job.open_tasks -= 1
    job.dependencies.leave(task.key)
    _limit_retention(turn, job, task)
    options = exit_options(task.wire.get("exitConditions"), outcome)
    if options.satisfies and job.wire["usesTaskDependencies"]:
        for key in job.dependencies.satisfy(task.key):
            turn.wait(job, job.tasks[key])
    if job.state in engine_jobs.LIVE:
        _act_on_job(turn, job, task, options.job_action if may_act else "none")
    engine_jobs.watch_all_complete(turn, job)


def _act_on_job(turn: Turn, job: Job, task: Task, action: str) -> None:
    manager = job.wire.get("jobManagerTask")
    if manager and manager["id"].lower() == task.key and manager["killJobOnCompletion"]:
        engine_jobs.job_terminated(turn, events.JobTerminated(job.key, "JMComplete"))
    elif job.wire.get("onTaskFailure") != "performexitoptionsjobaction":
        return
    elif action == "terminate":
        engine_jobs.job_terminated(turn, events.JobTerminated(job.key, "TaskFailed"))
    elif action == "disable" and job.state in ("active", "enabling"):
        engine_jobs.job_disabled(turn, events.JobDisabled(job.key, "requeue"))


def _limit_retention(turn: Turn, job: Job, task: Task) -> None:
    limit_s = duration_s(task.wire["constraints"].get("retentionTime", _RETENTION))
    if limit_s is not None and "nodeInfo" in task.wire:
        task.files_due = turn.now + timedelta(seconds=limit_s)
        heappush(turn.state.expiries.heap, (task.files_due, job.key, task.key))
        _watch_expiries(turn)


def _all_expiries(turn: Turn) -> list[tuple[datetime, str, str]]:
    """The heap; after a restart it is made from the tasks."""
    expiries = turn.state.expiries
    if not expiries.is_whole:
        found = ((task.files_due, job.key, task.key) for job in turn.state.jobs.values() for task in job.tasks.values())
        expiries.heap = sorted((due, job, task) for due, job, task in found if due)
        expiries.is_whole = True
    return expiries.heap


def _watch_expiries(turn: Turn) -> None:
    """One timer, for the first that is due."""
    state = turn.state
    heap = state.expiries.heap
    if heap and (state.files_timer is None or heap[0][0] < state.files_timer):
        state.files_timer = heap[0][0]
        turn.out.append(instructions.After((state.files_timer - turn.now).total_seconds(), events.FilesDue()))


def _show_recent(node: Node, job: Job, task: Task) -> None:
    if task.state != "completed":
        return
    node.wire["totalTasksRun"] += 1
    node.wire["totalTasksSucceeded"] += task.wire["executionInfo"]["result"] == "success"
    entry = {"jobId": job.id, "taskId": task.id, "taskState": task.state}
    recent = [{**entry, "executionInfo": task.wire["executionInfo"]}, *node.wire["recentTasks"]]
    node.wire["recentTasks"] = recent[:_RECENT]
