"""Looks beyond the tasks now and then: at nodes, at the pool, at the Batch job itself. What is wrong is told once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import NotFound, ServiceError, service
from snakemake_executor_azurebatch.run.judge import JOB_NOT_FOUND, Cause, Failure
from snakemake_executor_azurebatch.run.patience import BRIEF, shown_s
from snakemake_executor_azurebatch.run.pool_in_use import PoolInUse
from snakemake_executor_azurebatch.run.pool_watch import PoolWatch
from snakemake_executor_azurebatch.run.waiting import (
    Waiting,
    can_go_on,
    explain_waiting,
    look_why,
    node_troubles,
    why_stuck,
    word,
)

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

#: In looks at the tasks: how far apart looks at the nodes are, and how long nothing has happened before more is asked.
#: With the usual interval of 2 s, half a minute each, so that what is wrong is told within a minute.
EVERY_LOOKS = 15
#: A time without completions is told after so long, and then more and more rarely, at least every ten minutes.
FIRST_WHY_S = 60.0
#: A pool with spot nodes is asked so often which tasks have lost theirs, besides when one is seen taken away.
REQUEUES_S = 300.0
MAX_WHY_S = 600.0

#: What another VM size may help against.
_ELSEWHERE = (Cause.ALLOCATION, Cause.QUOTA)

#: What a Batch job is that runs no task any more; seen in its state, or as the code of a refusal.
ENDED_STATES = ("terminating", "completed", "deleting")
ENDED_CODES = (JOB_NOT_FOUND, "JobCompleted", "JobBeingTerminated", "JobBeingDeleted")


@dataclass(frozen=True, slots=True)
class Quiet:
    """A time without completions, and when to ask about it: ever more rarely, at least every ten minutes."""

    ask_at_s: float
    pause_s: float

    @classmethod
    def begins(cls, now_s: float, pause_s: float) -> Quiet:
        """It begins now."""
        return cls(now_s + pause_s, pause_s)

    def asked(self, now_s: float) -> Quiet:
        """It was asked about now."""
        return Quiet.begins(now_s, min(self.pause_s * 2, MAX_WHY_S))


@dataclass(frozen=True, slots=True)
class NodeSight:
    """A node as it was seen."""

    node_id: str
    state: str
    since: str
    troubles: tuple[str, ...] = ()
    is_dedicated: bool = True
    allocated: datetime | None = None  #: when it came to the pool
    booted: str = ""  #: when it did so last; a node that comes back after it was taken away has done so again


class Looks:
    """The requests; each raises ServiceError."""

    def __init__(self, client: BatchClient, batch_job_id: str, in_use: PoolInUse) -> None:
        self._client = client
        self._batch_job_id = batch_job_id
        self.in_use = in_use

    def nodes(self) -> list[NodeSight]:
        """The nodes of the pool; none where it is gone."""
        select = ["id", "state", "stateTransitionTime", "errors", "startTaskInfo", "isDedicated"]
        select += ["allocationTime", "lastBootTime"]
        try:
            with service("looking at the nodes"):
                return [_sight(node) for node in self._client.list_nodes(self.in_use.pool_id, select=select, **BRIEF)]
        except NotFound:
            return []

    def why(self) -> Waiting:
        """Why tasks wait."""
        return look_why(self._client, self._batch_job_id, self.in_use.pool_id, self.in_use.old_resize)

    def job_state(self) -> str:
        """Of the Batch job."""
        with service("looking at the Batch job"):
            return word(self._client.get_job(self._batch_job_id, select=["state"], **BRIEF).state)

    def requeues(self) -> dict[str, int]:
        """How many nodes each open task has lost, of those that have lost any."""
        wanted = "state eq 'active' or state eq 'running'"
        with service("looking for tasks whose nodes were taken away"):
            found = self._client.list_tasks(
                self._batch_job_id, filter=wanted, select=["id", "executionInfo"], max_results=1000, **BRIEF
            )
            return {
                str(task.id): count for task in found if (info := task.execution_info) and (count := info.requeue_count)
            }

    def task_ids(self) -> set[str]:
        """Of all tasks that the Batch job has."""
        with service("looking for the tasks"):
            return {str(task.id) for task in self._client.list_tasks(self._batch_job_id, select=["id"], **BRIEF)}


@dataclass(frozen=True, slots=True)
class Limits:
    """When to look, and when to give up."""

    every_s: float  #: between two looks at the nodes, and how long nothing has happened before more is asked
    stuck_s: float  #: how long nothing may be able to happen before the jobs fail
    first_why_s: float

    @classmethod
    def of(cls, poll_interval_s: float, stuck_s: float) -> Limits:
        """Those that go with the interval between two looks at the tasks."""
        every_s = min(EVERY_LOOKS * poll_interval_s, FIRST_WHY_S / 2)
        return cls(every_s, stuck_s, 2 * every_s)


@dataclass(frozen=True, slots=True)
class Reactions:
    """What is done about what was seen; from the watcher's thread."""

    say: Callable[[str], None]
    give_up: Callable[[Failure], None]  #: no job can end any more
    gone: Callable[[Iterable[str]], None]  #: keys of tasks that were created, and are there no more
    requeued: Callable[[Mapping[str, int]], None] | None = None  #: open tasks that have lost nodes, and how many


class Overseer:
    """Called after each look at the tasks."""

    def __init__(self, looks: Looks, limits: Limits, reactions: Reactions) -> None:
        self._looks = looks
        self._limits = limits
        self._on = reactions
        self._next_s = time.monotonic() + limits.every_s
        self._requeues_s = self._next_s + REQUEUES_S
        self._spot: dict[str, str] = {}  #: spot nodes, and when each has booted
        self._watch_pool = PoolWatch(looks.in_use, reactions.say)
        self._told_stuck: Cause | None = None
        self._stuck_since_s: float | None = None
        self._quiet_since_s = 0.0
        self._quiet = Quiet.begins(0.0, limits.first_why_s)

    def __call__(self, created: frozenset[str], quiet_since_s: float) -> None:
        """``created``: what is watched and was created; nothing was completed since. Raises ServiceError."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._limits.every_s
        try:
            self._watch_nodes(now_s)
        finally:  # where nodes cannot be looked at, or a request is refused, what is wrong is judged all the same
            self._watch_job(created, quiet_since_s, now_s)

    def _watch_job(self, created: frozenset[str], quiet_since_s: float, now_s: float) -> None:
        if quiet_since_s != self._quiet_since_s:
            self._quiet_since_s, self._quiet = quiet_since_s, Quiet.begins(quiet_since_s, self._limits.first_why_s)
        if now_s - quiet_since_s >= self._limits.every_s:
            self._ask_more(created, now_s)

    def _watch_nodes(self, now_s: float) -> None:
        nodes = self._looks.nodes()
        self._watch_pool(nodes, now_s)
        if self._on.requeued is None:
            return
        spot = {node.node_id: node.booted for node in nodes if not node.is_dedicated}
        # New ones count too: what was lost before the first look shows in nothing else.
        has_changed, self._spot = spot != self._spot, spot
        if has_changed or (spot and now_s >= self._requeues_s):
            self._requeues_s = now_s + REQUEUES_S
            self._on.requeued(self._looks.requeues())

    def _ask_more(self, created: frozenset[str], now_s: float) -> None:
        is_due = now_s >= self._quiet.ask_at_s
        try:
            state = self._looks.job_state()
            # Before the pool, which may not be ours to see: what is gone is told of all the same.
            if is_due and state not in ENDED_STATES and (missing := created - self._looks.task_ids()):
                self._on.gone(missing)
            waiting = self._looks.why()
        except ServiceError as error:
            if error.code not in ENDED_CODES:
                raise
            state = error.code
        if state in (*ENDED_STATES, *ENDED_CODES):
            self._on.give_up(Failure(Cause.JOB_GONE, f"the Batch job is seen as: {state}"))
            return
        self._watch_progress(waiting, now_s)
        if is_due:
            self._quiet = self._quiet.asked(now_s)
            if (why := explain_waiting(waiting)) and self._told_stuck is None:
                self._on.say(why)

    def _watch_progress(self, waiting: Waiting, now_s: float) -> None:
        """Tell of what keeps every task from running, and give up in the end."""
        failure = why_stuck(waiting)
        if can_go_on(waiting):
            self._stuck_since_s, self._told_stuck = None, None
        if failure is None:  # perhaps only for a moment: a pool that is resized in vain
            return
        if failure.cause is Cause.POOL_GONE and self._looks.in_use.owes_nodes:
            return
        if failure.cause in _ELSEWHERE and (told := self._looks.in_use.move()):
            self._on.say(f"{failure.detail}\n{told}")
            self._stuck_since_s, self._told_stuck = None, None
            return
        self._stuck_since_s = now_s if self._stuck_since_s is None else self._stuck_since_s
        if failure.cause is not self._told_stuck:
            self._told_stuck = failure.cause
            limit = shown_s(self._limits.stuck_s)
            self._on.say(f"Nothing can run: {failure.detail}\nIf that stays so for {limit}, the jobs are given up.")
        if now_s - self._stuck_since_s >= self._limits.stuck_s:
            self._on.give_up(failure)


def _sight(node: models.BatchNode) -> NodeSight:
    return NodeSight(
        node_id=str(node.id),
        state=word(node.state),
        since=str(node.state_transition_time),
        troubles=tuple(node_troubles(node)),
        is_dedicated=node.is_dedicated is not False,
        allocated=node.allocation_time,
        booted=str(node.last_boot_time or ""),
    )
