"""What the local service knows, as plain data: pools, nodes, jobs, tasks, runs.

``wire`` is a resource as an answer shows it (wire names, times as text), without what depends on the
caller's host name (URLs); it is always up to date, so that filters need no rendering. ``key`` is an
id in lower case: ids keep their case but are compared without it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from snakemake_executor_azurebatch.emulator.agent.work import TaskKind
from snakemake_executor_azurebatch.emulator.dependencies import Dependencies
from snakemake_executor_azurebatch.emulator.watched import Watched
from snakemake_executor_azurebatch.emulator.wire import Json


class Ending(Enum):
    """Why a run is being ended from outside."""

    REQUEUE = "requeue"
    TERMINATE = "terminate"
    DROP = "drop"  #: its task is deleted


@dataclass(slots=True)
class Run:
    """One run of one task on one node, from placement to the agent's outcome."""

    number: int
    job_id: str
    task_id: str
    pool_key: str
    node_id: str
    slots: int
    ending: Ending | None = None
    kind: TaskKind = "task"
    is_held: bool = False  #: not begun: its node still prepares for the job

    @property
    def job_key(self) -> str:
        """Key of its job."""
        return self.job_id.lower()

    @property
    def task_key(self) -> str:
        """Key of its task."""
        return self.task_id.lower()


@dataclass(slots=True)
class Node:
    """One compute node. It takes tasks while it is idle or running and not leaving."""

    id: str
    pool_key: str
    number: int
    is_dedicated: bool
    slots: int
    wire: Json
    used_slots: int = 0
    runs: dict[int, Run] = field(default_factory=dict)
    is_leaving: bool = False
    is_closing: bool = False
    after: str = ""  #: what it does when its last run has ended: reboot, reimage, deallocate, return, or nothing
    boot: int = 1  #: number of its present boot; what belongs to an earlier one is void
    emptied: int = 0  #: number of the latest boot that began with an empty disk
    users: dict[str, Json] = field(default_factory=dict)  #: by name, without secrets

    @property
    def free_slots(self) -> int:
        """Slots that a task could take now."""
        is_enabled = self.wire["schedulingState"] == "enabled"
        takes_tasks = is_enabled and not self.is_leaving and self.wire["state"] in ("idle", "running")
        return self.slots - self.used_slots if takes_tasks else 0


@dataclass(frozen=True, slots=True)
class AllocationFault:
    """Why a pool does not get its nodes: ``code`` is that of the resize error that follows.

    With the code ``AllocationTimedout`` the resize hangs until its timeout, with any other it ends at once.
    """

    code: str
    message: str = ""
    limit: int = 0  #: so many nodes the pool can have in all
    is_low_priority_only: bool = False


@dataclass(slots=True)
class Pool:
    """One pool and its nodes, by node id."""

    id: str
    key: str
    wire: Json
    nodes: Watched[str, Node] = field(default_factory=Watched)
    nodes_made: int = 0
    is_settled: bool = False  #: the transition in progress may end
    resize: int = 0  #: number of the latest resize
    errors: list[Json] = field(default_factory=list)  #: of the resize in progress
    schedule: int = 0  #: number of the present schedule of evaluations of its formula
    samples: list[list[float | int | None]] = field(default_factory=list)  #: as SampleStore.to_plain gives them
    registries: list[Json] = field(default_factory=list, repr=False)  #: of its containers, with their passwords
    formula_set: datetime | None = None  #: when automatic scaling was last enabled
    tags: dict[str, str] = field(default_factory=dict)  #: of the resource; only Azure Resource Manager shows them


@dataclass(slots=True)
class Task:
    """One task. ``ticket`` tells its valid place in the queue from outdated ones."""

    id: str
    key: str
    job_key: str
    slots: int
    wire: Json
    run: Run | None = None
    ticket: int = 0
    is_exclusive: bool = False  #: wants a node for itself (a job manager task)
    registry: Json | None = field(default=None, repr=False)  #: of its container, with the password
    files_due: datetime | None = None  #: when its retention time ends
    files_expired: bool = False  #: its retention time is over

    @property
    def state(self) -> str:
        """active, preparing, running or completed."""
        return str(self.wire["state"])

    @property
    def queue(self) -> int:
        """The queue of its job in which it waits: one per number of slots, 0 for a node of its own."""
        return 0 if self.is_exclusive else self.slots


@dataclass(slots=True)
class Preparation:
    """What a job's preparation and release tasks did on one node. Kept when the node is gone.

    ``wire`` is an item of the status list. ``state``: running, ready (tasks may run) or failed.
    """

    pool_id: str
    node_id: str
    boot: int  #: Node.boot when the preparation task began
    wire: Json
    state: str = "running"
    run: Run | None = None


@dataclass(slots=True)
class Expiries:
    """When the files of completed tasks are to go: (time, job key, task key), a heap.

    Kept empty on disk, where the tasks have it all: it is made again when it is needed (``is_whole``).
    """

    heap: list[tuple[datetime, str, str]] = field(default_factory=list)
    is_whole: bool = False

    def __reduce__(self) -> tuple[type[Expiries], tuple[()]]:
        return Expiries, ()


@dataclass(slots=True)
class Schedule:
    """One job schedule. ``due``: when the next job is to start; None: never again."""

    id: str
    key: str
    wire: Json
    due: datetime | None
    jobs_made: int = 0
    job_key: str = ""  #: of the latest job
    registries: dict[str, Json] = field(default_factory=dict, repr=False)  #: of its jobs' special tasks
    is_settled: bool = False  #: the transition in progress may end

    @property
    def state(self) -> str:
        """active, disabled, terminating, deleting or completed."""
        return str(self.wire["state"])


@dataclass(slots=True)
class Job:
    """One Batch job, its tasks by key, and its queue: (task key, ticket) by required slots."""

    id: str
    key: str
    number: int
    pool_key: str
    wire: Json
    created: datetime
    tasks: Watched[str, Task] = field(default_factory=Watched)
    waiting: dict[int, deque[tuple[str, int]]] = field(default_factory=dict)  #: by Task.queue
    open_tasks: int = 0  #: not completed
    runs: dict[int, Run] = field(default_factory=dict)  #: also those of deleted tasks, until they have ended
    is_settled: bool = False
    order: list[str] | None = None  #: task keys sorted; None: to be sorted again
    dependencies: Dependencies = field(default_factory=Dependencies)
    preparations: dict[str, Preparation] = field(default_factory=dict)  #: by node id
    is_released: bool = False  #: its release tasks were started
    is_forced: bool = False  #: its end waits for nothing
    schedule_key: str = ""  #: empty for a job that no schedule made
    registries: dict[str, Json] = field(default_factory=dict, repr=False)  #: of its special tasks, with passwords

    @property
    def state(self) -> str:
        """active, disabling, disabled, enabling, terminating, deleting or completed."""
        return str(self.wire["state"])

    def sorted_keys(self) -> list[str]:
        """Task keys in the order of listings."""
        if self.order is None:
            self.order = sorted(self.tasks)
        return self.order
