"""When a run changes its line in a leased pool's formula, and to what (pure).

    more is wanted        at once
    less is wanted        when that has been so for a while: the next jobs may be about to become ready, and the
                          service's own count of tasks is a minute old
    nothing is new        every third of the lease, so that it does not end while the run is there

Azure Batch takes one change of a pool in 30 s, and none while the pool is being resized (source: Azure Batch
reference, "Enable Auto Scale"). A node that runs a task is not given back: Azure Batch would let it finish, and would
call the pool "resizing" until then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Terms:
    """How long is what, in seconds."""

    lease_s: float = 600.0  #: nodes stay for so long without their run
    calm_s: float = 90.0  #: fewer are wanted for so long before nodes are given back
    pause_s: float = 31.0  #: between two changes (source: 30 s, and what clocks differ by)
    refused_s: float = 2.0  #: after a refusal, at first
    longest_refused_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What the run wants now."""

    nodes: int  #: on which all its open tasks could run at once
    tasks: int  #: that are open: ready, waiting or running
    busy_nodes: int = 0  #: of the pool, as last seen
    broken_nodes: int = 0  #: of the pool, that stay there and run nothing


@dataclass(frozen=True, slots=True)
class Held:
    """What the run's line says, and since when."""

    nodes: int = 0
    tasks: int = 0
    changed_s: float = float("-inf")
    low_since_s: float | None = None  #: fewer nodes have been enough since then
    high: int = 0  #: the most that were wanted since then
    not_before_s: float = float("-inf")  #: no change is possible before
    refusals: int = 0  #: in a row
    is_due: bool = False  #: it is to be written again, whatever is wanted: nodes have gone, or the formula is another

    @property
    def is_written(self) -> bool:
        """Whether there is such a line."""
        return self.changed_s > float("-inf")


@dataclass(frozen=True, slots=True)
class Ask:
    """A line that is to be written."""

    nodes: int
    tasks: int


def wanted_first(demand: Demand, known: Ask) -> Demand:
    """What the first line is written for. ``known``: what is ready, though not all of it was handed over yet.

    Asked for less, the pool could not be asked for more until the pause is over.
    """
    return replace(demand, nodes=max(demand.nodes, known.nodes), tasks=max(demand.tasks, known.tasks))


def beside_broken(demand: Demand) -> Demand:
    """What has to be asked for, so that the wanted nodes are there beside broken ones; those go with all others."""
    return replace(demand, nodes=demand.nodes + demand.broken_nodes, broken_nodes=0) if demand.tasks else demand


def look(held: Held, demand: Demand, now_s: float, most: int, terms: Terms) -> tuple[Held, Ask | None]:
    """What is known now, and the line that is to be written, if any. ``most``: nodes that the pool may have."""
    wanted = min(max(demand.nodes, min(demand.busy_nodes, held.nodes)), most)
    has = min(held.nodes, most)
    if wanted >= has:
        held = replace(held, low_since_s=None, high=0)
    elif held.low_since_s is None:
        held = replace(held, low_since_s=now_s, high=wanted)
    else:
        held = replace(held, high=max(held.high, wanted))
    if now_s < max(held.not_before_s, held.changed_s + terms.pause_s):
        return held, None
    if wanted > has:
        return held, Ask(demand.nodes, demand.tasks)
    if held.low_since_s is not None and now_s - held.low_since_s >= terms.calm_s:
        return held, Ask(held.high, demand.tasks)
    if held.is_due or now_s - held.changed_s >= terms.lease_s / 3:
        return held, Ask(max(has, demand.nodes), demand.tasks)
    return held, None


def written(ask: Ask, now_s: float) -> Held:
    """The line was written."""
    return Held(nodes=ask.nodes, tasks=ask.tasks, changed_s=now_s)


def refused(held: Held, now_s: float, terms: Terms) -> Held:
    """Azure Batch takes no change now: the pool is being resized, or was changed a moment ago."""
    pause_s = min(terms.refused_s * 2.0**held.refusals, terms.longest_refused_s)
    return replace(held, not_before_s=now_s + pause_s, refusals=held.refusals + 1)
