"""The autoscale formula of a leased pool: made from one line per run, and read back (pure).

The pool's formula is where runs that share the pool meet: each reads the text, changes its own line and sends the
whole back, on condition that nobody else was quicker. So nothing is kept anywhere else, and what is kept acts at once.

    until the time of its line, a run wants so many nodes       nodes are there when jobs are ready
    what waiting and running tasks need, whoever made them      right without any run, and while no change is possible
    never more than the most, nor fewer than the fewest         while a run is there; else than those that always stay

Facts (source: Azure Batch documentation, "automatic scaling"): at most 8 KB and 100 statements; $PendingTasks counts
tasks, not their slots, so that a line says for how many tasks its nodes are; a sample is there every 30 s, about a
minute late; the fraction of a target is dropped; an evaluation that fails leaves the pool as it is, so that none may:
``max(0, $PendingTasks.GetSample(1))`` holds without samples too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from snakemake_executor_azurebatch.pools.description import NO_NODES, Span

#: The shortest interval between two evaluations that Azure Batch takes.
EVERY = timedelta(minutes=5)
#: So many runs can share a pool; of more, the lines that ended first go.
MOST_LINES = 40
#: A run that has been gone for so long has no tasks any more (its Batch job has ended), or nobody misses its line.
FORGET_AFTER = timedelta(days=1)

TITLE = "// Sizes this pool for snakemake (executor azurebatch), as docs/pools.md says."
_LINE = re.compile(
    r"^run_(?P<run>[0-9a-z]+) = time\(\) < time\(\"(?P<until>[0-9TZ:-]+)\"\) \? (?P<nodes>\d+) : -1;"
    r" // for (?P<tasks>\d+) tasks$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """What one run wants: so many nodes for so many tasks, until then."""

    run: str  #: small letters and digits
    until: datetime
    nodes: int
    tasks: int

    def __str__(self) -> str:
        until = self.until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f'run_{self.run} = time() < time("{until}") ? {self.nodes} : -1; // for {self.tasks} tasks'


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the pool may have. ``slots``: of a node."""

    dedicated: Span = NO_NODES
    spot: Span = NO_NODES
    slots: int = 1

    @property
    def most(self) -> int:
        """Nodes of both kinds."""
        return self.dedicated.max + self.spot.max

    @property
    def fewest(self) -> int:
        """Nodes of both kinds, while a run is there."""
        return self.dedicated.min + self.spot.min


def is_lease(formula: str | None) -> bool:
    """Whether a pool's formula is of this kind."""
    return bool(formula) and str(formula).startswith(TITLE)


def lines_of(formula: str | None) -> list[Line]:
    """The lines of the runs; none in a formula of another kind."""
    if not is_lease(formula):
        return []
    return [
        Line(
            found["run"],
            datetime.strptime(found["until"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            int(found["nodes"]),
            int(found["tasks"]),
        )
        for found in _LINE.finditer(str(formula))
    ]


def with_line(lines: Iterable[Line], line: Line, now: datetime) -> list[Line]:
    """The lines with this run's new one, without those of runs that have been gone for long."""
    return _kept((*(other for other in lines if other.run != line.run), line), now)


def without_line(lines: Iterable[Line], run: str, now: datetime) -> list[Line]:
    """The lines without this run's: it has ended, and none of its tasks are left."""
    return _kept([other for other in lines if other.run != run], now)


def _kept(lines: Sequence[Line], now: datetime) -> list[Line]:
    alive = sorted((line for line in lines if now - line.until < FORGET_AFTER), key=lambda line: line.until)
    return sorted(alive[-MOST_LINES:], key=lambda line: line.run)


def formula_of(lines: Sequence[Line], bounds: Bounds) -> str:
    """The text that Azure Batch is given."""
    names = [f"run_{line.run}" for line in lines]
    return "\n".join(
        [
            TITLE,
            "// Each run has a line: until then it wants so many nodes. -1: nobody is there any more.",
            *map(str, lines),
            f"leased = {' + '.join(f'max(0, {name})' for name in names) or '0'};",
            f"alive = {' || '.join(f'{name} >= 0' for name in names) or '0'};",
            "// What tasks need that wait or run, as far as samples tell; where there are none, nobody waits.",
            "seen = $PendingTasks.GetSamplePercent(10 * TimeInterval_Minute) > 0;",
            "tasks = seen ? max(0, $PendingTasks.GetSample(1)) : 0;",
            f"wanted = max(leased, tasks * {_share(lines, bounds):.9f} + 0.999);",
            "// Dedicated nodes first; the fraction is dropped.",
            f"fewestDedicated = {_fewest(bounds.dedicated)};",
            f"fewestSpot = {_fewest(bounds.spot)};",
            f"dedicated = max(fewestDedicated, min({bounds.dedicated.max}, wanted));",
            f"spot = max(fewestSpot, min({bounds.spot.max}, wanted - dedicated));",
            "$TargetDedicatedNodes = dedicated;",
            "$TargetLowPriorityNodes = spot;",
            "$NodeDeallocationOption = taskcompletion;",
        ]
    )


def _share(lines: Sequence[Line], bounds: Bounds) -> float:
    """The part of a node that a task needs on the average; one slot where no run says more."""
    tasks = sum(line.tasks for line in lines)
    nodes = sum(line.nodes for line in lines if line.tasks)
    return max(nodes, 1) / tasks if tasks else 1 / bounds.slots


def _fewest(span: Span) -> str:
    return str(span.standing) if span.min <= span.standing else f"alive ? {span.min} : {span.standing}"
