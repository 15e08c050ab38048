"""Looks at the nodes of a run's pool: what is wrong is told once, in one message for all that is alike, and mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.run.mending import BROKEN
from snakemake_executor_azurebatch.run.pool_in_use import PoolInUse
from snakemake_executor_azurebatch.run.waiting import MOST_TROUBLES, resize_errors_of, scaling_error_of

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.run.oversee import NodeSight

Say = Callable[[str], None]

#: A pool that has fewer nodes than it could use is looked at after so long, and then more and more rarely.
FIRST_S, LONGEST_S = 30.0, 600.0
MOST_NAMED = 3
_USABLE = ("idle", "running")

#: One node, several nodes, and what goes on.
_NEWS = {
    "unusable": ("is unusable", "are unusable", "tasks go to other nodes"),
    "starttaskfailed": ("cannot be used: its start task has failed", "cannot be used: their start task has failed", ""),
    "preempted": (
        "was taken away by Azure (preempted)",
        "were taken away by Azure (preempted)",
        "tasks go to other nodes",
    ),
    "unknown": (
        "does not answer Azure Batch any more",
        "do not answer Azure Batch any more",
        "tasks go to other nodes",
    ),
}


class PoolWatch:
    """To be called with the nodes after each look at them, from one thread."""

    def __init__(self, in_use: PoolInUse, say: Say) -> None:
        self._in_use = in_use
        self._say = say
        self._told_nodes: set[tuple[str, str, str]] = set()
        self._told: set[str] = set()
        self._look_s = 0.0
        self._pause_s = FIRST_S

    def __call__(self, nodes: Sequence[NodeSight], now_s: float) -> None:
        """Raises ServiceError."""
        self._in_use.saw(nodes)
        fresh = self._fresh(nodes)
        failed = fresh.get("starttaskfailed")
        stderr = self._in_use.start_stderr(failed[0].node_id) if failed else []  # before the node goes
        mended = self._in_use.mend(nodes)
        for found in fresh.values():
            self._say("\n".join(_news(found, len(nodes), mended.fate, stderr)))
        self._tell_once(mended.told)
        wanted = self._in_use.wants.demand(self._in_use.pool.slots_per_node).nodes
        if sum(node.state in _USABLE for node in nodes) >= wanted:
            self._look_s, self._pause_s = now_s + FIRST_S, FIRST_S
        elif now_s >= self._look_s:
            self._look_s, self._pause_s = now_s + self._pause_s, min(self._pause_s * 2, LONGEST_S)
            self._look_at_pool(len(nodes), wanted)

    def _fresh(self, nodes: Sequence[NodeSight]) -> dict[str, list[NodeSight]]:
        """What is to be told of, by state."""
        fresh: dict[str, list[NodeSight]] = defaultdict(list)
        for node in nodes:
            sight = (node.node_id, node.state, node.since)
            if node.state in _NEWS and sight not in self._told_nodes:
                self._told_nodes.add(sight)
                fresh[node.state].append(node)
        return fresh

    def _look_at_pool(self, there: int, wanted: int) -> None:
        pool = self._in_use.found()
        if pool is None:  # told when nothing runs any more
            return
        if error := scaling_error_of(pool):
            self._tell_once(f"The autoscale formula of pool {pool.id} fails: {error}{self._renewed()}")
        for code, words in resize_errors_of(pool, self._in_use.old_resize):
            short = f"Pool {pool.id} has {there} nodes where jobs could use {wanted}, and gets no more: "
            self._tell_once(short + words, what=short + code)  # each resize has details of its own

    def _renewed(self) -> str:
        if not self._in_use.is_leased:
            return ""
        self._in_use.renew()
        return ". It is written anew."

    def _tell_once(self, text: str, what: str = "") -> None:
        """``what``: it is about; the text where that is not given."""
        if text and (what or text) not in self._told:
            self._told.add(what or text)
            self._say(text)


def _news(found: Sequence[NodeSight], count: int, fate: str, stderr: Sequence[str]) -> Iterator[str]:
    """Of nodes in one state. ``fate``: what is done to broken ones; ``stderr``: of a start task that has failed."""
    state = found[0].state
    one, several, goes_on = _NEWS[state]
    what_next = _what_next(goes_on, fate if state in BROKEN else "", len(found))
    named = [node.node_id for node in found[:MOST_NAMED]]
    if len(found) == 1:
        yield f"Node {named[0]} {one}{what_next}."
    else:
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        yield f"{len(found)} of {count} nodes {several}{what_next}: {', '.join(named)}{more}."
    troubles = list(dict.fromkeys(trouble for node in found for trouble in node.troubles))
    yield from (f"  {trouble}" for trouble in troubles[:MOST_TROUBLES])
    if state == "starttaskfailed":
        yield from (f"  | {line}" for line in stderr)


def _what_next(goes_on: str, fate: str, count: int) -> str:
    parts = [f"{'its' if count == 1 else 'their'} {goes_on}"] if goes_on else []
    if fate:
        parts.append(f"{'it is' if count == 1 else 'they are'} {fate}")
    return f"; {', and '.join(parts)}" if parts else ""
