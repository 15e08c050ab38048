"""What is to be done about an event: the engine's output, carried out by the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.events import Event
from snakemake_executor_azurebatch.emulator.model import Job, Run, Task
from snakemake_executor_azurebatch.emulator.wire import Json


@dataclass(frozen=True, slots=True)
class Later:
    """Feed ``event`` back after the delay named ``delay`` of the runtime's Timings."""

    delay: str
    event: Event


@dataclass(frozen=True, slots=True)
class After:
    """Feed ``event`` back after ``delay_s`` seconds."""

    delay_s: float
    event: Event


@dataclass(frozen=True, slots=True)
class BootNode:
    """Make and start the node; NodeStarting and NodeReady follow.

    ``how``: create, reboot (its files stay), reimage (they do not), start (after it was deallocated).
    """

    pool_key: str
    node_id: str
    boot: int = 1
    how: str = "create"


@dataclass(frozen=True, slots=True)
class StopNode:
    """Switch the node's machine off, at once if ``is_sudden``; NodeStopped follows."""

    pool_key: str
    node_id: str
    boot: int
    is_sudden: bool = False


@dataclass(frozen=True, slots=True)
class RunStartTask:
    """Run the node's start task; StartTaskEnded follows."""

    pool_key: str
    node_id: str
    boot: int
    body: Json


@dataclass(frozen=True, slots=True)
class CloseNode:
    """Close the node's agent and remove its files; NodeGone follows."""

    pool_key: str
    node_id: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Run the task; RunEnded follows."""

    run: Run
    task: Task
    job: Job


@dataclass(frozen=True, slots=True)
class StartJobTask:
    """Run the job's preparation or release task (``run.kind`` says which); RunEnded follows."""

    run: Run
    job: Job
    body: Json


@dataclass(frozen=True, slots=True)
class StopRun:
    """End the run from outside; its RunEnded follows."""

    run: Run


@dataclass(frozen=True, slots=True)
class RemoveTaskFiles:
    """Delete a task's directory now."""

    pool_key: str
    node_id: str
    job_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class RemoveJobFiles:
    """Delete the directories of a job's tasks; JobFilesRemoved follows."""

    job_key: str
    files: Sequence[RemoveTaskFiles]


Instruction = (
    Later | After | BootNode | StopNode | RunStartTask | CloseNode
    | StartRun | StartJobTask | StopRun | RemoveTaskFiles | RemoveJobFiles
)  # fmt: skip
