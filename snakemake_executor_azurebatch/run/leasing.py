"""A run's lease on its pool: what the run wants, and the thread that keeps its line in the pool's formula in step.

The rules are in ``pools.lease``, the formula in ``pools.formula``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.pools.lease import (
    Ask,
    Demand,
    Held,
    Terms,
    beside_broken,
    look,
    refused,
    wanted_first,
    written,
)
from snakemake_executor_azurebatch.pools.planning import nodes_for
from snakemake_executor_azurebatch.pools.scaling import NotNow, RunsLine

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.run.oversee import NodeSight

#: Between two looks at what the run wants. A look is no request.
LOOK_EVERY_S = 2.0
#: How long the end of a run waits to give its nodes back: Azure Batch takes a change of a pool every 30 s.
LEAVE_PATIENCE_S = 35.0


class Farewell:
    """The time that the end of a run has for something, all in all: giving back the nodes of all its pools, say."""

    def __init__(self, patience_s: float = LEAVE_PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._ends_s: float | None = None

    def left_s(self) -> float:
        """What is left of it. It begins when it is asked for first."""
        now_s = time.monotonic()
        if self._ends_s is None:
            self._ends_s = now_s + self._patience_s
        return max(0.0, self._ends_s - now_s)


class Wants:
    """The open tasks of a run on one pool. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}
        self._busy_nodes = self._broken_nodes = 0
        self.changed = threading.Event()

    def opened(self, slots: Mapping[str, int]) -> None:
        """These tasks are ready: key and slots."""
        with self._lock:
            self._open.update(slots)
        self.changed.set()

    def closed(self, keys: Iterable[str]) -> None:
        """These tasks need no node any more."""
        with self._lock:
            for key in keys:
                self._open.pop(key, None)

    def saw_nodes(self, nodes: Sequence[NodeSight]) -> None:
        """The nodes of the pool, as they are now."""
        with self._lock:
            self._busy_nodes = sum(node.state == "running" for node in nodes)

    def besides(self, broken_nodes: int) -> None:
        """So many nodes of the pool run no task any more, and cannot be removed."""
        with self._lock:
            self._broken_nodes = broken_nodes

    def demand(self, slots_per_node: int) -> Demand:
        """What the run wants now."""
        with self._lock:
            slots = [min(one, slots_per_node) for one in self._open.values()]
            busy, broken = self._busy_nodes, self._broken_nodes
        return Demand(nodes_for(slots, slots_per_node), len(slots), busy, broken)


class Leasing:
    """Keeps the line in step, from a thread of its own, until ``stop``."""

    def __init__(
        self, line: RunsLine, wants: Wants, terms: Terms, say: Callable[[str], None], *, first: Ask, is_new: bool
    ) -> None:
        """``first``: for what is known before there are tasks. ``is_new``: the formula says so already."""
        self._line = line
        self._wants = wants
        self._terms = terms
        self._say = say
        now_s = time.monotonic()
        # Making a pool is no change of it, so that the next change need not wait.
        self._held = Held(first.nodes, first.tasks, now_s - terms.pause_s) if is_new else Held()
        self._first = first
        self._told = ""
        self._stopping = threading.Event()
        self._is_due = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="azurebatch-lease", daemon=True)
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """Keep nothing any more, and give the nodes back. Waits so long where Azure Batch takes no change yet.

        Raises ServiceError. Where it cannot be done, the lease ends by itself.
        """
        self._stopping.set()
        self._wants.changed.set()
        self._thread.join(patience_s + 1)
        give_up_s, is_told = time.monotonic() + patience_s, False
        while True:
            try:
                self._line.remove()
            except NotNow:
                left_s = give_up_s - time.monotonic()
                if left_s <= 0:
                    minutes = round(self._terms.lease_s / 60)
                    self._say(f"Pool {self._line.pool_id} takes no change now: its nodes go within {minutes} minutes.")
                    return
                if not is_told:
                    is_told = True
                    self._say(f"Giving back the nodes of pool {self._line.pool_id}, for {left_s:.0f} s at most.")
                time.sleep(min(2.0, left_s))
            else:
                return

    def renew(self) -> None:
        """Write the line again soon: nodes that it stands for have gone, or the formula is not what it was."""
        self._is_due.set()
        self._wants.changed.set()

    def leave(self) -> None:
        """Keep nothing any more: what tasks need that wait or run is what the pool has when the lease ends."""
        self._stopping.set()
        self._wants.changed.set()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._look_once()
            self._wants.changed.wait(LOOK_EVERY_S)
            self._wants.changed.clear()

    def _look_once(self) -> None:
        now_s, bounds = time.monotonic(), self._line.bounds
        demand = self._wants.demand(bounds.slots)
        if not self._held.is_written:
            demand = wanted_first(demand, self._first)
            if not demand.tasks:  # a line for nothing would have to be waited for, too
                return
        demand = beside_broken(demand)
        if self._is_due.is_set():
            self._is_due.clear()
            self._held = replace(self._held, is_due=True)
        self._held, ask = look(self._held, demand, now_s, bounds.most, self._terms)
        if ask is None:
            return
        try:
            self._line.write(ask)
        except NotNow:
            self._held = refused(self._held, time.monotonic(), self._terms)
        except ServiceError as error:
            self._held = refused(self._held, time.monotonic(), self._terms)
            if not self._stopping.is_set() and error.code != self._told:
                self._told = error.code
                self._say(f"Pool {self._line.pool_id} could not be given nodes for now, trying again: {error}")
        else:
            self._held = written(ask, time.monotonic())
            self._told = ""
