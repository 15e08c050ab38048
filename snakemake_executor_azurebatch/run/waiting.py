"""Why nothing happens: said when tasks wait and none of them runs, and judged: can anything happen at all?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import NotFound, service
from snakemake_executor_azurebatch.run.judge import Cause, Failure
from snakemake_executor_azurebatch.run.patience import BRIEF
from snakemake_executor_azurebatch.run.said import details_text

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

#: States of nodes that run tasks, or will. source: Azure Batch REST reference, BatchNodeState.
_USABLE = frozenset(
    ("idle", "running", "creating", "starting", "waitingforstarttask", "rebooting", "reimaging", "upgradingos")
)
#: States of nodes that never run one again by themselves.
_BROKEN = frozenset(("starttaskfailed", "unusable", "unknown"))
#: So many are shown at most: each node of a large pool may have its own.
MOST_TROUBLES = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a look at the pool showed. ``troubles`` are the service's own words."""

    pool_id: str
    active_tasks: int
    running_tasks: int
    nodes: Mapping[str, int]  #: state -> how many
    is_resizing: bool
    troubles: tuple[str, ...] = ()
    resize_codes: tuple[str, ...] = ()  #: why the pool could not get the nodes it was to have
    is_gone: bool = False  #: the pool does not exist, or is being deleted
    wants_nodes: bool = True  #: it is to have nodes, or a formula decides
    scaling_error: str = ""  #: why its autoscale formula fails


def look_why(client: BatchClient, batch_job_id: str, pool_id: str, old_resize: datetime | None = None) -> Waiting:
    """Three requests. ``old_resize``: the end of one whose errors are not this run's. Raises ServiceError."""
    with service("looking why tasks wait"):
        counts = client.get_job_task_counts(batch_job_id, **BRIEF).task_counts
    try:
        with service("looking why tasks wait"):
            pool = client.get_pool(pool_id, **BRIEF)
            nodes = list(client.list_nodes(pool_id, select=["state", "errors", "startTaskInfo"], **BRIEF))
    except NotFound:
        return Waiting(pool_id, counts.active, counts.running, {}, is_resizing=False, is_gone=True)
    return Waiting(
        pool_id=pool_id,
        active_tasks=counts.active,
        running_tasks=counts.running,
        nodes=Counter(word(node.state) for node in nodes),
        is_resizing=word(pool.allocation_state) != "steady",
        troubles=tuple(dict.fromkeys(_troubles(pool, nodes, old_resize))),
        resize_codes=tuple(code for code, _ in resize_errors_of(pool, old_resize)),
        is_gone=word(pool.state) == "deleting",
        wants_nodes=bool(pool.enable_auto_scale or pool.target_dedicated_nodes or pool.target_low_priority_nodes),
        scaling_error=scaling_error_of(pool),
    )


def explain_waiting(waiting: Waiting) -> str | None:
    """Some lines for the screen; None where a task runs, so that all is well."""
    if waiting.running_tasks or not waiting.active_tasks:
        return None
    tasks = "1 task waits" if waiting.active_tasks == 1 else f"{waiting.active_tasks} tasks wait"
    lines = [f"{tasks} for a node of pool {waiting.pool_id}: {_nodes(waiting)}."]
    lines += [f"  {trouble}" for trouble in waiting.troubles[:MOST_TROUBLES]]
    return "\n".join(lines)


def can_go_on(waiting: Waiting) -> bool:
    """Whether a task runs, or a node is there that will run one."""
    return bool(waiting.running_tasks or not waiting.active_tasks or _USABLE & waiting.nodes.keys())


def why_stuck(waiting: Waiting) -> Failure | None:
    """Why no task can run unless somebody does something about the pool; None where that is not so, or not sure."""
    if can_go_on(waiting):
        return None
    cause = _stuck(waiting)
    return Failure(cause, str(explain_waiting(waiting))) if cause else None


def _stuck(waiting: Waiting) -> Cause | None:
    if waiting.is_gone:
        return Cause.POOL_GONE
    is_broken = bool(waiting.nodes.keys() & _BROKEN)
    if waiting.is_resizing or (waiting.nodes and not is_broken):  # preempted, offline, leaving: some of these come back
        return None
    if is_broken:
        return Cause.START_TASK if "starttaskfailed" in waiting.nodes else Cause.UNUSABLE
    if waiting.resize_codes:
        is_quota = any("quota" in code.lower() for code in waiting.resize_codes)
        return Cause.QUOTA if is_quota else Cause.ALLOCATION
    if waiting.wants_nodes:
        return Cause.SCALING if waiting.scaling_error else None
    return Cause.POOL_GONE


def resize_errors_of(pool: models.BatchPool, old_resize: datetime | None) -> list[tuple[str, str]]:
    """Code and words of what the pool's last resize has met; of one from before this run nothing.

    The service keeps the errors until the next resize, however long ago they were.
    """
    if old_resize is not None and pool.allocation_state_transition_time == old_resize:
        return []
    errors = pool.resize_errors or []
    return [(str(error.code), _words(error.code, error.message, error.error_values)) for error in errors]


def scaling_error_of(pool: models.BatchPool) -> str:
    """Why the pool's autoscale formula could not be evaluated the last time; nothing where it could."""
    run = pool.auto_scale_run
    error = run.error if run is not None else None
    return _words(error.code, error.message, error.error_values) if error is not None else ""


def _nodes(waiting: Waiting) -> str:
    if waiting.is_gone:
        return "the pool is gone"
    if not waiting.nodes:
        return "it is being resized and has no nodes yet" if waiting.is_resizing else "it has no nodes"
    return ", ".join(f"{count} {state}" for state, count in sorted(waiting.nodes.items()))


def _troubles(pool: models.BatchPool, nodes: Iterable[models.BatchNode], old_resize: datetime | None) -> Iterable[str]:
    for _, words in resize_errors_of(pool, old_resize):
        yield words
    if error := scaling_error_of(pool):
        yield f"autoscale formula: {error}"
    for node in nodes:
        yield from node_troubles(node)


def node_troubles(node: models.BatchNode) -> Iterable[str]:
    """What the service says is wrong with a node."""
    for trouble in node.errors or []:
        yield _words(trouble.code, trouble.message, trouble.error_details)
    failure = node.start_task_info.failure_info if node.start_task_info else None
    if failure is not None:
        yield f"start task: {_words(failure.code, failure.message, failure.details)}"


def _words(code: str | None, message: str | None, pairs: Iterable[models.NameValuePair] | None) -> str:
    """The code, the sentence that belongs to it, and what was said of this case."""
    details = details_text((pair.name or "", pair.value or "") for pair in pairs or [])
    return f"{code}: {message} ({details})" if details else f"{code}: {message}"


def word(state: object) -> str:
    """A state of the service as a word."""
    return str(getattr(state, "value", state) or "unknown")
