"""How long a run had nodes: at least so long, as far as looks at the pool and the times of tasks tell."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.run.judge import Sighting
    from snakemake_executor_azurebatch.run.oversee import NodeSight

#: States in which a node costs nothing. source: Azure Batch documentation, "preempted", "deallocated".
_FREE = frozenset(("preempted", "deallocated"))


@dataclass(frozen=True, slots=True)
class Kind:
    """What a node is, as far as its price goes."""

    vm_size: str
    is_spot: bool


@dataclass(slots=True)
class _Known:
    kind: Kind | None = None  #: None: no look has seen the node
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    seen_since: datetime | None = None  #: of the span that goes on as long as each look sees the node
    seen_until: datetime | None = None


class NodeTimes:
    """The nodes of one pool, from the beginning of a run. Usable from any thread.

    Nodes that other runs share count whole; what nodes do before the first and after the last look does not count,
    but for the time that they run tasks of this run, or were there when that look came.
    """

    def __init__(self, began: datetime | None = None) -> None:
        self._began = began or datetime.now(UTC)
        self._lock = threading.Lock()
        self._nodes: defaultdict[str, _Known] = defaultdict(_Known)

    def saw(self, nodes: Iterable[NodeSight], vm_size: str, now: datetime | None = None) -> None:
        """A look at the pool has found these nodes, all that it has."""
        now = now or datetime.now(UTC)
        there = {node.node_id: node for node in nodes if node.state not in _FREE}
        with self._lock:
            for node_id in self._nodes.keys() - there.keys():
                _close(self._nodes[node_id])
            for node_id, node in there.items():
                known = self._nodes[node_id]
                if known.seen_since is None:
                    # One that was away may be back for a moment only.
                    since = node.allocated if known.kind is None and node.allocated else now
                    known.seen_since = max(since, self._began)
                known.kind = known.kind or Kind(vm_size, not node.is_dedicated)
                known.seen_until = now

    def worked(self, sighting: Sighting) -> None:
        """A node has run this task."""
        if sighting.node_id is None or sighting.started is None or sighting.ended is None:
            return
        span = (max(sighting.started, self._began), sighting.ended)
        if span[0] < span[1]:
            with self._lock:
                self._nodes[sighting.node_id].spans.append(span)

    def seconds(self, otherwise: Kind) -> dict[Kind, float]:
        """Of all nodes of a kind together. ``otherwise``: the kind of nodes that no look has seen."""
        sums: defaultdict[Kind, float] = defaultdict(float)
        with self._lock:
            for known in self._nodes.values():
                _close(known, is_over=False)
                if (took_s := covered_s(known.spans)) > 0:
                    sums[known.kind or otherwise] += took_s
        return dict(sums)


def _close(known: _Known, *, is_over: bool = True) -> None:
    """What was seen becomes a span; ``is_over``: the node is away now."""
    if known.seen_since is not None and known.seen_until is not None and known.seen_since < known.seen_until:
        known.spans.append((known.seen_since, known.seen_until))
    if is_over:
        known.seen_since = known.seen_until = None


def covered_s(spans: Sequence[tuple[datetime, datetime]]) -> float:
    """Seconds that lie in any of the spans."""
    total_s, reached = 0.0, None
    for start, end in sorted(spans):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            total_s += (end - begin).total_seconds()
            reached = end
    return total_s


def node_hours(seconds: Mapping[Kind, float]) -> float:
    """Of all kinds together."""
    return sum(seconds.values()) / 3600
