"""How pools are sized, in time and node-hours: ``python -m tests.bench.bench_pools``, from the repository's root.

Everything is simulated: the local service's engine on a clock that jumps, and the plugin's own rules for the lease. One
workflow of three waves, each of which begins when the one before has ended: many short tasks, some long ones that take
a whole node, and one that needs a node with much memory, in a pool of its own.

lease     what the plugin does
fixed     all nodes from the start of the run to its end
pending   the documented formula that follows $PendingTasks, looked at every five minutes
ideal     whoever knows everything beforehand: nodes begin to boot so early that no task waits for one but at the start,
          and go with their last task, or stay where booting again would cost more. The order of tasks is the same.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.formula import Bounds, Line, formula_of
from snakemake_executor_azurebatch.pools.lease import Ask, Demand, Held, Terms, look, refused, written
from snakemake_executor_azurebatch.pools.planning import nodes_for
from tests.bench.measuring import table
from tests.bench.simulated_service import SimulatedService, Times

SLOTS = 4
MOST = {"main": 25, "memory": 2}
TIMES, TERMS = Times(), Terms()
LOOK_S, NODES_EVERY_S, BRING_BACK_S = 2.0, 30.0, 5.0

#: The example of Azure's documentation, with 25 nodes at most.
PENDING = """
startingNumberOfVMs = 1;
maxNumberofVMs = {most};
pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);
pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs
    : avg($PendingTasks.GetSample(180 * TimeInterval_Second));
$TargetDedicatedNodes = min(maxNumberofVMs, pendingTaskSamples);
$NodeDeallocationOption = taskcompletion;
"""


@dataclass(frozen=True)
class Work:
    """One task."""

    id: str
    pool: str
    slots: int
    takes_s: float


def workflow(seed: int, scale: float) -> list[list[Work]]:
    """Three waves."""
    rng = random.Random(seed)
    minutes = 60 * scale
    return [
        [Work(f"short{n}", "main", 1, rng.uniform(2, 6) * minutes) for n in range(200)],
        [Work(f"long{n}", "main", SLOTS, rng.uniform(20, 40) * minutes) for n in range(20)],
        [Work("large", "memory", SLOTS, 45 * minutes)],
    ]


@dataclass
class Result:
    """What a contestant needed."""

    first_s: float  #: until the first task runs
    total_s: float
    node_h: float


class Sizing:
    """How a contestant sizes its pools."""

    def create(self, service: SimulatedService, pool: str, works: Sequence[Work]) -> None:
        """The pool, when its first jobs come."""
        raise NotImplementedError

    def tick(self, service: SimulatedService, pool: str, open_works: Sequence[Work]) -> None:
        """Looked at every two seconds."""

    def end(self, service: SimulatedService, pool: str) -> bool:
        """The run is over; whether nothing more is to be done about this pool."""
        return True


class Fixed(Sizing):
    def create(self, service, pool, works):
        service.create_pool(pool, SLOTS, targetDedicatedNodes=MOST[pool] if pool == "main" else 1)


class Pending(Sizing):
    def create(self, service, pool, works):
        formula = PENDING.format(most=MOST[pool])
        service.create_pool(
            pool, SLOTS, enableAutoScale=True, autoScaleFormula=formula, autoScaleEvaluationInterval="PT5M"
        )


@dataclass
class Lease(Sizing):
    held: dict[str, Held] = field(default_factory=dict)
    changes: int = 0
    busy: dict[str, tuple[float, int]] = field(default_factory=dict)

    def create(self, service, pool, works):
        ask = Ask(nodes_for((work.slots for work in works), SLOTS), len(works))
        self.held[pool] = Held(ask.nodes, ask.tasks, service.clock.now_s - TERMS.pause_s)
        service.create_pool(
            pool,
            SLOTS,
            enableAutoScale=True,
            autoScaleFormula=self._formula(service, pool, ask),
            autoScaleEvaluationInterval="PT5M",
        )

    def tick(self, service, pool, open_works):
        now_s = service.clock.now_s
        looked_s, busy = self.busy.get(pool, (float("-inf"), 0))
        if now_s - looked_s >= NODES_EVERY_S:
            busy = sum(bool(node.runs) for node in service.state.pools[pool].nodes.values())
            self.busy[pool] = (now_s, busy)
        demand = Demand(nodes_for((work.slots for work in open_works), SLOTS), len(open_works), busy)
        self.held[pool], ask = look(self.held[pool], demand, now_s, MOST[pool], TERMS)
        if ask is None:
            return
        if self._set(service, pool, self._formula(service, pool, ask)):
            self.held[pool] = written(ask, now_s)
        else:
            self.held[pool] = refused(self.held[pool], now_s, TERMS)

    def end(self, service, pool):
        return self._set(service, pool, formula_of([], self._bounds(pool)))

    def _set(self, service, pool, formula):
        try:
            service.set_formula(pool, formula)
        except ServiceFault:
            return False
        self.changes += 1
        return True

    def _bounds(self, pool):
        return Bounds(Span(max=MOST[pool]), slots=SLOTS)

    def _formula(self, service, pool, ask):
        until = service.clock.now().replace(microsecond=0) + timedelta(seconds=TERMS.lease_s)
        return formula_of([Line("a", until, ask.nodes, ask.tasks)], self._bounds(pool))


def simulate(waves: Sequence[Sequence[Work]], sizing: Sizing) -> Result:
    """Run the workflow; nodes count until the last one is gone, those of fixed pools until the end of the run."""
    run = SimulatedRun(waves, sizing)
    if isinstance(sizing, Fixed):
        for pool in MOST:
            run.make(pool, [])
    for wave in waves:
        run.wave(wave)
    service, total_s = run.service, run.service.clock.now_s
    if not isinstance(sizing, Fixed):
        _empty(service, sizing, run.made)
    return Result(run.first_s or 0.0, total_s, service.node_s / 3600)


class SimulatedRun:
    """A run of the workflow."""

    def __init__(self, waves: Sequence[Sequence[Work]], sizing: Sizing) -> None:
        self.service = SimulatedService(TIMES, {work.id: work.takes_s for wave in waves for work in wave})
        self.sizing = sizing
        self.made: list[str] = []
        self.first_s: float | None = None

    def make(self, pool: str, wave: Sequence[Work]) -> None:
        """The pool, if it is not there."""
        if pool not in self.made:
            self.sizing.create(self.service, pool, [work for work in wave if work.pool == pool])
            self.service.create_job(pool, pool)
            self.made.append(pool)

    def wave(self, wave: Sequence[Work]) -> None:
        """Submit these tasks, and wait for them."""
        service = self.service
        for pool in dict.fromkeys(work.pool for work in wave):
            self.make(pool, wave)
        for work in wave:
            service.create_task(work.pool, work.id, work.slots)
        open_works = list(wave)
        while open_works:
            service.run_until(service.clock.now_s + LOOK_S)
            if self.first_s is None and service.state.runs:
                self.first_s = service.clock.now_s
            open_works = [work for work in open_works if _is_open(service, work)]
            for pool in self.made:
                self.sizing.tick(service, pool, [work for work in open_works if work.pool == pool])
        service.run_until(service.clock.now_s + BRING_BACK_S)


def _is_open(service: SimulatedService, work: Work) -> bool:
    return service.state.jobs[work.pool].tasks[work.id].state != "completed"


def _empty(service: SimulatedService, sizing: Sizing, pools: Iterable[str]) -> None:
    """As the run ends: what can be done in half a minute, and then what formulas do by themselves."""
    left, begun_s = list(pools), service.clock.now_s
    while left and service.clock.now_s - begun_s < 35:
        left = [pool for pool in left if not sizing.end(service, pool)]
        service.run_until(service.clock.now_s + LOOK_S)
    while service.nodes() and service.clock.now_s - begun_s < 3600:
        service.run_until(service.clock.now_s + 10)


def ideal(waves: Sequence[Sequence[Work]]) -> Result:
    """Perfect knowledge."""
    now_s, busy = TIMES.ready_s, {pool: [] for pool in MOST}
    for wave in waves:
        ends = [now_s]
        for pool, most in MOST.items():
            works = [work for work in wave if work.pool == pool]
            best_s = _end_s(works, most, now_s)
            fewest = next(count for count in range(1, most + 1) if _end_s(works, count, now_s) <= best_s)
            busy[pool] += schedule(works, fewest, now_s)
            ends.append(best_s)
        now_s = max(ends)
    node_s = sum(_paid_s(spans) for spans in busy.values())
    return Result(TIMES.ready_s, now_s, node_s / 3600)


def _end_s(works: Sequence[Work], nodes: int, now_s: float) -> float:
    return max((end for _, _, end in schedule(works, nodes, now_s)), default=now_s)


def schedule(works: Sequence[Work], nodes: int, now_s: float) -> list[tuple[int, float, float]]:
    """In the order given, each on the fullest node that has room first: node, start, end."""
    running: list[list[tuple[float, int]]] = [[] for _ in range(nodes)]
    placed, waiting, at_s = [], list(works), now_s
    while waiting:
        for node in running:
            node[:] = [(end, slots) for end, slots in node if end > at_s]
        left = []
        for work in waiting:
            free = [SLOTS - sum(slots for _, slots in node) for node in running]
            fitting = [number for number in range(nodes) if free[number] >= work.slots]
            if not fitting:
                left.append(work)
                continue
            number = min(fitting, key=lambda number: (free[number], number))
            running[number].append((at_s + work.takes_s, work.slots))
            placed.append((number, at_s, at_s + work.takes_s))
        waiting = left
        if waiting:
            at_s = min(end for node in running for end, _ in node)
    return placed


def _paid_s(placed: Iterable[tuple[int, float, float]]) -> float:
    """From the beginning of the boot to the last task; gaps that cost less than another boot are kept."""
    spans: dict[int, list[tuple[float, float]]] = {}
    for node, start, end in sorted(placed, key=lambda one: one[1]):
        mine = spans.setdefault(node, [])
        if mine and start - mine[-1][1] <= TIMES.boot_s:
            mine[-1] = (mine[-1][0], max(mine[-1][1], end))
        else:
            mine.append((start, end))
    return sum(end - start + TIMES.boot_s for mine in spans.values() for start, end in mine)


def main() -> None:
    """Print times and node-hours, and the ratios to the ideal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="workflows of other random durations (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all durations (default: 1)")
    options = parser.parse_args()
    rows: dict[str, list[tuple[Result, Result]]] = {"lease": [], "fixed": [], "pending": []}
    changes = []
    for seed in range(options.seeds):
        waves = workflow(seed, options.scale)
        best, lease = ideal(waves), Lease()
        rows["lease"].append((simulate(waves, lease), best))
        changes.append(lease.changes)
        rows["fixed"].append((simulate(waves, Fixed()), best))
        rows["pending"].append((simulate(waves, Pending()), best))
    best = [one for _, one in rows["lease"]]
    shown = [("ideal", _mean(best), best)]
    shown += [(name, _mean(result for result, _ in found), best) for name, found in rows.items()]
    table(
        f"Three waves, mean of {options.seeds} workflows",
        ["", "first task (min)", "total (min)", "node-hours", "total / ideal", "node-hours / ideal"],
        [
            [
                name,
                mean.first_s / 60,
                mean.total_s / 60,
                mean.node_h,
                mean.total_s / _mean(ideals).total_s,
                mean.node_h / _mean(ideals).node_h,
            ]
            for name, mean, ideals in shown
        ],
    )
    print(f"\nChanges of a formula in a run of the lease: {sum(changes) / len(changes):.1f}")


def _mean(results: Iterable[Result]) -> Result:
    found = list(results)
    return Result(*(sum(getattr(one, name) for one in found) / len(found) for name in ("first_s", "total_s", "node_h")))


if __name__ == "__main__":
    main()
