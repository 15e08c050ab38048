"""What the engine hands to a node agent, and what comes back. Plain values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Json = Mapping[str, Any]

#: A job manager task is a ``task``.
TaskKind = Literal["task", "start", "jobpreparation", "jobrelease"]


def task_root_directory(job_id: str, task_id: str, kind: TaskKind = "task") -> str:
    """nodeInfo.taskRootDirectory: a task's directory, relative to its node's root.

    ``startup`` for a start task, whose ids do not matter; ``workitems/<job>/job-1/<task>`` for the others; a
    job of a schedule, ``<schedule>:job-<n>``, has ``workitems/<schedule>/job-<n>/<task>``.
    source: public documentation ("Files and directories")
    """
    if kind == "start":
        return "startup"
    name, _, run = job_id.partition(":")
    return f"workitems/{name}/{run or 'job-1'}/{task_id}"


@dataclass(frozen=True, slots=True)
class NodePlace:
    """One node, as its tasks see it."""

    root: Path  #: AZ_BATCH_NODE_ROOT_DIR
    pool_id: str
    node_id: str
    is_dedicated: bool
    account_name: str
    account_url: str
    #: blob endpoint of the account's auto-storage, with a SAS where it needs one; None: the account has none
    auto_storage_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TaskWork:
    """One run of one task. ``body`` is the task as the service stores it (wire names).

    A start task belongs to no job: its ids are not used.
    """

    job_id: str
    task_id: str
    body: Json
    #: the job's commonEnvironmentSettings: [{"name", "value"}], overridden by the task's own
    common_environment: Sequence[Json] = field(default_factory=tuple)
    kind: TaskKind = "task"
    #: id of the job's preparation task, where the job has one
    job_preparation_id: str | None = None

    @property
    def root_directory(self) -> str:
        """nodeInfo.taskRootDirectory: relative to the node's root."""
        return task_root_directory(self.job_id, self.task_id, self.kind)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """executionInfo.failureInfo: category is ``usererror`` or ``servererror``."""

    category: str
    code: str
    message: str
    details: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """executionInfo.containerInfo: the container a task ran in, as its engine saw it last."""

    container_id: str
    state: str  #: the engine's own word: ``exited``, or ``created`` where it never started
    error: str = ""  #: the engine's own sentence


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How a run ended. ``exit_code`` is None where the command never started."""

    exit_code: int | None
    start_time: datetime
    end_time: datetime
    failure: TaskFailure | None = None
    container: ContainerInfo | None = None  #: None where the command ran on the host
    #: most memory that all processes of the task had at one time; sampled, None for a run too short to see
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None  #: processor time of all processes of the task

    @property
    def succeeded(self) -> bool:
        """Exit code 0 and no failure before, in or after the command."""
        return self.exit_code == 0 and self.failure is None
