"""What happens to pools and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.model import AllocationFault, Pool


@dataclass(frozen=True, slots=True)
class PoolAdded:
    """A pool was created; its ``wire`` says how many nodes it wants."""

    pool: Pool


@dataclass(frozen=True, slots=True)
class PoolResized:
    """New targets were asked for. ``option`` is a nodeDeallocationOption."""

    pool_key: str
    dedicated: int
    low_priority: int
    option: str = "requeue"


@dataclass(frozen=True, slots=True)
class PoolDeleted:
    """The pool is to go."""

    pool_key: str


@dataclass(frozen=True, slots=True)
class PoolSettled:
    """The pool's transition was visible long enough. ``resize`` is its number; 0: whichever it is."""

    pool_key: str
    resize: int = 0


@dataclass(frozen=True, slots=True)
class PoolResizeStopped:
    """The resize in progress is to stop where it is."""

    pool_key: str


@dataclass(frozen=True, slots=True)
class PoolStopSettled:
    """The stopping of that resize was visible long enough."""

    pool_key: str
    resize: int


@dataclass(frozen=True, slots=True)
class PoolResizeTimedOut:
    """The resizeTimeout of that resize is over."""

    pool_key: str
    resize: int


@dataclass(frozen=True, slots=True)
class AllocationFaultSet:
    """From now on nodes of a pool (``*``: of any pool) can be had only as ``fault`` says; None: as usual."""

    pool_key: str
    fault: AllocationFault | None


@dataclass(frozen=True, slots=True)
class NodesRemoved:
    """These nodes are to leave. ``option`` is a nodeDeallocationOption."""

    pool_key: str
    node_ids: Sequence[str]
    option: str = "requeue"


@dataclass(frozen=True, slots=True)
class NodeStarting:
    """The node's machine was made and starts. ``boot`` is its number; 0: whichever it is."""

    pool_key: str
    node_id: str
    boot: int = 0


@dataclass(frozen=True, slots=True)
class NodeReady:
    """The node has booted. ``boot`` is its number; 0: whichever it is."""

    pool_key: str
    node_id: str
    boot: int = 0


@dataclass(frozen=True, slots=True)
class StartTaskEnded:
    """How a run of the node's start task ended."""

    pool_key: str
    node_id: str
    boot: int
    outcome: TaskOutcome


@dataclass(frozen=True, slots=True)
class NodeRestarted:
    """A user wants the node to ``reboot``, ``reimage`` or ``deallocate``; ``option`` for its running tasks."""

    pool_key: str
    node_id: str
    how: str
    option: str = "requeue"


@dataclass(frozen=True, slots=True)
class NodeStopped:
    """The machine of a node that was deallocated is off."""

    pool_key: str
    node_id: str
    boot: int


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A user wants a deallocated node to start."""

    pool_key: str
    node_id: str


@dataclass(frozen=True, slots=True)
class NodeSchedulingSet:
    """A user disables or enables the scheduling of tasks on the node; ``option`` for its running tasks."""

    pool_key: str
    node_id: str
    is_enabled: bool
    option: str = "requeue"


@dataclass(frozen=True, slots=True)
class NodePreempted:
    """Azure takes a low-priority node back. It returns later, emptied, where there is capacity again."""

    pool_key: str
    node_id: str


@dataclass(frozen=True, slots=True)
class NodeLost:
    """The node is gone without a word: it shows ``unknown``, and later another takes its place."""

    pool_key: str
    node_id: str


@dataclass(frozen=True, slots=True)
class NodeReplaced:
    """Time to bring a preempted node back, or to replace a lost one."""

    pool_key: str
    node_id: str
    boot: int


@dataclass(frozen=True, slots=True)
class NodeUnusable:
    """The node can run no more tasks; ``code`` and ``message`` are what it shows as its error."""

    pool_key: str
    node_id: str
    code: str = "Unknown"
    message: str = "The node is unusable"


@dataclass(frozen=True, slots=True)
class AutoScaleSet:
    """Automatic scaling was enabled, changed or disabled; the pool's ``wire`` says what it is now."""

    pool_key: str
    is_restarted: bool  #: the schedule of evaluations begins now


@dataclass(frozen=True, slots=True)
class AutoScaleSampleDue:
    """Time to take a sample of what formulas look at."""

    pool_key: str
    schedule: int


@dataclass(frozen=True, slots=True)
class AutoScaleDue:
    """Time to evaluate the pool's formula."""

    pool_key: str
    schedule: int


@dataclass(frozen=True, slots=True)
class NodeGone:
    """The node's agent is closed and its files are removed."""

    pool_key: str
    node_id: str
