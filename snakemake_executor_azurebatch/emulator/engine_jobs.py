"""How jobs behave.

    job    active -> disabling -> disabled -> enabling -> active
           any of these -> terminating -> completed; any -> deleting -> gone

A job that ends first ends its runs, then lets its release tasks run. What makes a job end: the user, its
schedule, its wall clock (which runs from its creation), its manager task, all tasks complete, a task's exit
options.

Assumed where the documentation is silent: with ``force`` a job does not wait for its nodes and runs no
release tasks; the preparation tasks of a job that is being disabled go on.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import engine_preparation, events, instructions
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.engine_pools import pool_deleted
from snakemake_executor_azurebatch.emulator.model import Ending, Job, Task
from snakemake_executor_azurebatch.emulator.wire import duration_s

#: States in which a job may still be ended.
LIVE = ("active", "disabling", "disabled", "enabling")


def job_added(turn: Turn, event: events.JobAdded) -> None:
    """A new job is active at once; its wall clock runs from now."""
    turn.state.add_job(event.job)
    turn.add_tasks(event.job, event.tasks)
    job_updated(turn, events.JobUpdated(event.job.key))


def job_updated(turn: Turn, event: events.JobUpdated) -> None:
    """Look again at what may end the job, and at what it may start."""
    job = turn.state.jobs[event.job_key]
    left_s = _time_left_s(turn, job)
    if left_s is not None:
        turn.out.append(instructions.After(left_s, events.JobTimeUp(job.key)))
    watch_all_complete(turn, job)
    turn.place(job.pool_key)


def job_disabled(turn: Turn, event: events.JobDisabled) -> None:
    """Running tasks are requeued, ended, or waited for; no other one starts."""
    job = turn.state.jobs[event.job_key]
    turn.move(job.wire, "disabling")
    if event.option != "wait":
        for run in [run for run in job.runs.values() if run.kind == "task"]:
            if turn.state.task(run):
                turn.stop(run, Ending(event.option))
    _settle_later(turn, job)


def job_enabled(turn: Turn, event: events.JobEnabled) -> None:
    """Tasks start again when the transition was seen."""
    job = turn.state.jobs[event.job_key]
    turn.move(job.wire, "enabling")
    _settle_later(turn, job)


def job_moved(turn: Turn, event: events.JobMoved) -> None:
    """A disabled job will find its nodes elsewhere."""
    job = turn.state.jobs[event.job_key]
    job.wire["executionInfo"]["poolId"] = event.pool_id
    turn.state.move_job(job, event.pool_id.lower())


def job_terminated(turn: Turn, event: events.JobTerminated) -> None:
    """Running tasks are ended; waiting ones stay active for good."""
    job = turn.state.jobs[event.job_key]
    turn.move(job.wire, "terminating")
    job.wire["executionInfo"]["terminateReason"] = event.reason
    job.is_forced = event.is_forced
    _end_all(turn, job, Ending.TERMINATE)


def job_deleted(turn: Turn, event: events.JobDeleted) -> None:
    """Running tasks are ended, then everything of the job is removed."""
    job = turn.state.jobs[event.job_key]
    if job.state != "deleting":  # being deleted already, and now by force
        turn.move(job.wire, "deleting")
    job.is_forced = event.is_forced
    _end_all(turn, job, Ending.DROP)


def job_settled(turn: Turn, event: events.JobSettled) -> None:
    """The transition was seen; it ends with the job's last run."""
    job = turn.state.jobs.get(event.job_key)
    if job:
        job.is_settled = True
        finish(turn, job)


def job_files_removed(turn: Turn, event: events.JobFilesRemoved) -> None:
    """Nothing is left of a deleted job."""
    job = turn.state.jobs.pop(event.job_key, None)
    if job:
        _retire(turn, job)


def job_time_up(turn: Turn, event: events.JobTimeUp) -> None:
    """End the job if its wall clock, as it is set now, has run out."""
    job = turn.state.jobs.get(event.job_key)
    left_s = _time_left_s(turn, job) if job else None
    if job is None or left_s is None or job.state not in LIVE:
        return
    if left_s == 0:
        job_terminated(turn, events.JobTerminated(job.key, "MaxWallClockTimeExpiry"))
    elif left_s < 1:  # the timer was early; where the limit was extended, another timer is running
        turn.out.append(instructions.After(left_s, events.JobTimeUp(job.key)))


def job_all_complete_due(turn: Turn, event: events.JobAllCompleteDue) -> None:
    """End the job if all its tasks are (still) complete and it asked for that."""
    job = turn.state.jobs.get(event.job_key)
    if job and _is_all_complete(job):
        job_terminated(turn, events.JobTerminated(job.key, "AllTasksComplete"))


def finish(turn: Turn, job: Job) -> None:
    """End the job's transition if it was seen and nothing of it is going on any more."""
    if not job.is_settled:
        return
    if job.state == "disabling" and not any(run.kind == "task" for run in job.runs.values()):
        turn.move(job.wire, "disabled")
    elif job.state == "enabling":
        turn.move(job.wire, "active")
        watch_all_complete(turn, job)
        turn.place(job.pool_key)
    elif job.state in ("terminating", "deleting") and (job.is_forced or _is_at_rest(turn, job)):
        _end(turn, job)


def task_files(turn: Turn, job: Job, task: Task) -> list[instructions.RemoveTaskFiles]:
    """The directory of a task that ran, on a node that is still there."""
    info = task.wire.get("nodeInfo")
    if not info or not turn.state.node(info["poolId"].lower(), info["nodeId"]):
        return []
    return [instructions.RemoveTaskFiles(info["poolId"].lower(), info["nodeId"], job.id, task.id)]


def watch_all_complete(turn: Turn, job: Job) -> None:
    """Have a look later, where all tasks are complete and that is to end the job."""
    if _is_all_complete(job):
        turn.out.append(instructions.Later("all_complete_s", events.JobAllCompleteDue(job.key)))


def _settle_later(turn: Turn, job: Job) -> None:
    job.is_settled = False
    turn.out.append(instructions.Later("settle_s", events.JobSettled(job.key)))


def _end_all(turn: Turn, job: Job, ending: Ending) -> None:
    for run in list(job.runs.values()):
        if run.kind != "jobrelease" and (run.kind != "task" or turn.state.task(run)):
            turn.stop(run, ending)
    _settle_later(turn, job)


def _is_at_rest(turn: Turn, job: Job) -> bool:
    """Whether all has ended, the release tasks included, which are started here."""
    if not job.runs and not job.is_released:
        job.is_released = True
        engine_preparation.release(turn, job)
    return not job.runs


def _end(turn: Turn, job: Job) -> None:
    job.is_settled = False  # once only
    if job.state == "terminating":
        turn.move(job.wire, "completed")
        job.wire["executionInfo"]["endTime"] = turn.stamp
        _retire(turn, job)
        return
    files = [found for task in job.tasks.values() for found in task_files(turn, job, task)]
    turn.out.append(instructions.RemoveJobFiles(job.key, [*files, *engine_preparation.files(turn, job)]))


def _retire(turn: Turn, job: Job) -> None:
    """The job is completed or gone: its pool, its own pool, and its schedule go on without it."""
    turn.state.retire_job(job)
    automatic = job.wire["poolInfo"].get("autoPoolSpecification") if "poolInfo" in job.wire else None
    own_pool = turn.state.pools.get(job.pool_key) if automatic else None
    if own_pool and automatic and not automatic["keepAlive"] and own_pool.wire["state"] == "active":
        pool_deleted(turn, events.PoolDeleted(own_pool.key))
    if job.schedule_key:
        turn.out.append(instructions.After(0.0, events.ScheduleDue(job.schedule_key)))


def _is_all_complete(job: Job) -> bool:
    return job.state == "active" and job.open_tasks == 0 and job.wire["onAllTasksComplete"] == "terminatejob"


def _time_left_s(turn: Turn, job: Job) -> float | None:
    limit_s = duration_s(job.wire["constraints"]["maxWallClockTime"])
    if limit_s is None:
        return None
    return max(0.0, limit_s - (turn.now - job.created).total_seconds())
