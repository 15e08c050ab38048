"""What happens to jobs and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.model import Job, Run, Task


@dataclass(frozen=True, slots=True)
class JobAdded:
    """A job was created, with its job manager task if it has one."""

    job: Job
    tasks: Sequence[Task] = ()


@dataclass(frozen=True, slots=True)
class JobUpdated:
    """Constraints, priority or onAllTasksComplete of the job were changed."""

    job_key: str


@dataclass(frozen=True, slots=True)
class JobDisabled:
    """The job is to start no more tasks. ``option`` for running ones: requeue, terminate or wait."""

    job_key: str
    option: str


@dataclass(frozen=True, slots=True)
class JobEnabled:
    """The job may start tasks again."""

    job_key: str


@dataclass(frozen=True, slots=True)
class JobMoved:
    """A disabled job goes to another pool."""

    job_key: str
    pool_id: str


@dataclass(frozen=True, slots=True)
class JobTerminated:
    """The job is to end; with ``is_forced`` without waiting for its nodes."""

    job_key: str
    reason: str = "UserTerminate"
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class JobDeleted:
    """The job is to go, with its tasks; with ``is_forced`` without waiting for its nodes."""

    job_key: str
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class JobSettled:
    """The job's transition was visible long enough."""

    job_key: str


@dataclass(frozen=True, slots=True)
class JobFilesRemoved:
    """The directories of a deleted job's tasks are removed."""

    job_key: str


@dataclass(frozen=True, slots=True)
class JobTimeUp:
    """The job's wall clock may have run out (it may have been extended meanwhile)."""

    job_key: str


@dataclass(frozen=True, slots=True)
class JobAllCompleteDue:
    """Time to see whether all tasks of the job are still complete."""

    job_key: str


@dataclass(frozen=True, slots=True)
class TasksAdded:
    """Tasks were created in a job."""

    job_key: str
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class TaskTerminated:
    """The task is to end."""

    job_key: str
    task_key: str


@dataclass(frozen=True, slots=True)
class TaskDeleted:
    """The task is to go."""

    job_key: str
    task_key: str


@dataclass(frozen=True, slots=True)
class TaskReactivated:
    """A task that did not succeed is to run again."""

    job_key: str
    task_key: str


@dataclass(frozen=True, slots=True)
class FilesDue:
    """The retention time of some completed task may be over."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The agent's outcome of a run."""

    run: Run
    outcome: TaskOutcome
