"""All that a local service remembers, in one place, so that it can be kept across restarts (see persistence)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from snakemake_executor_azurebatch.emulator.model import AllocationFault, Expiries, Job, Node, Pool, Run, Schedule, Task
from snakemake_executor_azurebatch.emulator.watched import Watched


@dataclass(slots=True)
class State:
    """Pools and jobs by key, and the running numbers given out so far."""

    pools: Watched[str, Pool] = field(default_factory=Watched)
    jobs: Watched[str, Job] = field(default_factory=Watched)
    runs: Watched[int, Run] = field(default_factory=Watched)
    jobs_of_pool: dict[str, dict[str, Job]] = field(default_factory=dict)  #: not completed ones
    schedules: dict[str, Schedule] = field(default_factory=dict)
    expiries: Expiries = field(default_factory=Expiries)
    allocation_faults: dict[str, AllocationFault] = field(default_factory=dict)  #: by pool key, or ``*``
    files_timer: datetime | None = None  #: when the next FilesDue comes
    last_number: int = 0
    last_etag: int = 0

    def number(self) -> int:
        """A number never given out before."""
        self.last_number += 1
        return self.last_number

    def etag(self, ticks: int) -> int:
        """A number for an ETag: the time in ticks, moved on where two changes share one."""
        self.last_etag = max(ticks, self.last_etag + 1)
        return self.last_etag

    def add_job(self, job: Job) -> None:
        """Remember a new job."""
        self.jobs[job.key] = job
        self.jobs_of_pool.setdefault(job.pool_key, {})[job.key] = job

    def retire_job(self, job: Job) -> None:
        """Take a job off its pool: it is completed or gone."""
        self.jobs_of_pool.get(job.pool_key, {}).pop(job.key, None)

    def move_job(self, job: Job, pool_key: str) -> None:
        """Put a job on another pool."""
        self.retire_job(job)
        job.pool_key = pool_key
        self.jobs_of_pool.setdefault(pool_key, {})[job.key] = job

    def active_count(self) -> int:
        """Jobs and job schedules that count for the account's quota: those that are not completed."""
        active = sum(schedule.state != "completed" for schedule in self.schedules.values())
        return active + sum(len(jobs) for jobs in self.jobs_of_pool.values())

    def node(self, pool_key: str, node_id: str) -> Node | None:
        """The node, if it is still there."""
        pool = self.pools.get(pool_key)
        return pool.nodes.get(node_id) if pool else None

    def task(self, run: Run) -> Task | None:
        """The task of a run, unless it was deleted (and perhaps made anew) meanwhile."""
        job = self.jobs.get(run.job_key)
        task = job.tasks.get(run.task_key) if job else None
        return task if task and task.run is run else None

    def problems(self) -> Iterable[str]:
        """Broken invariants, in words; empty when all is well. For tests."""
        for pool in self.pools.values():
            for node in pool.nodes.values():
                yield from _node_problems(node)
        for job in self.jobs.values():
            yield from self._job_problems(job)

    def _job_problems(self, job: Job) -> Iterable[str]:
        still_open = sum(task.state != "completed" for task in job.tasks.values())
        if still_open != job.open_tasks:
            yield f"job {job.id}: {still_open} tasks are open, {job.open_tasks} counted"
        for task in job.tasks.values():
            if (task.state in ("running", "preparing")) != (task.run is not None):
                yield f"task {task.id}: state {task.state} and run {task.run}"
            if task.run and task.run.is_held != (task.state == "preparing"):
                yield f"task {task.id}: state {task.state}, held {task.run.is_held}"
            if task.run and task.run.node_id in job.preparations and not task.run.is_held:
                yield from _preparation_problems(job, task.run)
            if task.state != "active" and task.key in job.dependencies.waiting:
                yield f"task {task.id}: state {task.state}, and it waits for others"
            if task.run and self.runs.get(task.run.number) is not task.run:
                yield f"task {task.id}: its run is unknown"
        here = [run for run in self.runs.values() if run.job_key == job.key]
        names = [run.task_key if run.kind == "task" else (run.kind, run.node_id) for run in here if run.ending is None]
        if len(names) != len(set(names)):
            yield f"job {job.id}: a task runs twice"


def _node_problems(node: Node) -> Iterable[str]:
    used = sum(run.slots for run in node.runs.values())
    if used != node.used_slots or used > node.slots:
        yield f"node {node.id}: {used} slots used, {node.used_slots} counted, {node.slots} there"
    runs = sum(run.kind == "task" for run in node.runs.values())
    if node.wire["runningTasksCount"] != runs:
        yield f"node {node.id}: {runs} runs, {node.wire['runningTasksCount']} shown"


def _preparation_problems(job: Job, run: Run) -> Iterable[str]:
    must_wait = job.wire["jobPreparationTask"]["waitForSuccess"]
    state = job.preparations[run.node_id].state
    if must_wait and state != "ready":
        yield f"task {run.task_id}: it runs on node {run.node_id}, whose preparation is {state}"
