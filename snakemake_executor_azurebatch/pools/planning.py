"""What a run would do on which pools, as rows of a table, before anything is submitted (pure)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from snakemake_executor_azurebatch.lanes import Way
from snakemake_executor_azurebatch.pools.choose import Capacity, Placement


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job, or a group of jobs, with how it travels and where to."""

    name: str  #: of the rule or of the group
    rules: tuple[str, ...]  #: of the job, or of the members of the group
    way: Way
    placement: Placement | None = None  #: None: there is no place for it, or none is known yet
    is_final: bool = True  #: all that it depends on is there
    retries: tuple[str, ...] = ()  #: what later attempts would do otherwise


@dataclass(frozen=True, slots=True)
class JobsRow:
    """Jobs of one rule, or groups of one name, that go the same way."""

    rule: str
    members: tuple[str, ...]  #: rules in the group; empty for a single job
    jobs: int
    final: int  #: of these, what does not depend on files that are not there yet
    lane: str
    lane_why: str
    image: str
    image_why: str
    staging: str
    staging_why: str
    pool: str
    pool_id: str
    vm_size: str
    slots: int
    slots_per_node: int
    pool_why: str
    retries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool that jobs go to. Prices are relative: an hour of a dedicated Standard_D4s_v5 is 1."""

    pool: str
    pool_id: str
    vm_size: str
    jobs: int
    nodes_useful: int  #: that these jobs could keep busy, all at once
    dedicated_at_most: int
    spot_at_most: int
    price_per_hour_at_most: float | None  #: of all these nodes; None: not known
    price_per_hour_useful: float | None  #: of those that the jobs can keep busy


def job_rows(jobs: Iterable[PlannedJob]) -> list[JobsRow]:
    """One row for all jobs of a rule that go the same way, in the order in which rules come first."""
    counts: dict[JobsRow, list[int]] = defaultdict(lambda: [0, 0])
    for job in jobs:
        counted = counts[_row(job)]
        counted[0] += 1
        counted[1] += job.is_final
    return [replace(row, jobs=count, final=final) for row, (count, final) in counts.items()]


def _row(job: PlannedJob) -> JobsRow:
    way, placed = job.way, job.placement
    return JobsRow(
        rule=job.name,
        members=job.rules if len(job.rules) > 1 else (),
        jobs=0,
        final=0,
        lane=way.lane,
        lane_why=way.lane_reason,
        image=way.image or "",
        image_why=way.image_reason,
        staging=way.staging,
        staging_why=way.staging_reason,
        pool=placed.pool.pool if placed else "",
        pool_id=placed.pool.pool_id if placed else "",
        vm_size=placed.pool.vm_size or "" if placed else "",
        slots=placed.slots if placed else 0,
        slots_per_node=placed.pool.slots if placed else 0,
        pool_why=placed.why if placed else "",
        retries=job.retries,
    )


def pool_rows(jobs: Iterable[PlannedJob], at_once: int | None = None) -> list[PoolRow]:
    """One row for each pool that is used. ``at_once``: how many jobs may be there at the same time; None: all."""
    slots: dict[str, list[int]] = defaultdict(list)
    pools: dict[str, Capacity] = {}
    for placed in filter(None, (job.placement for job in jobs)):
        pools[placed.pool.pool_id] = placed.pool
        slots[placed.pool.pool_id].append(placed.slots)
    return [_pool_row(pool, slots[pool_id], at_once) for pool_id, pool in pools.items()]


def _pool_row(pool: Capacity, slots: list[int], at_once: int | None) -> PoolRow:
    nodes = nodes_for(sorted(slots, reverse=True)[:at_once], pool.slots)
    return PoolRow(
        pool=pool.pool,
        pool_id=pool.pool_id,
        vm_size=pool.vm_size or "",
        jobs=len(slots),
        nodes_useful=nodes,
        dedicated_at_most=pool.dedicated.max,
        spot_at_most=pool.spot.max,
        price_per_hour_at_most=_price(pool, pool.dedicated.max + pool.spot.max),
        price_per_hour_useful=_price(pool, min(nodes, pool.dedicated.max + pool.spot.max)),
    )


def nodes_for(slots: Iterable[int], slots_per_node: int) -> int:
    """Nodes on which tasks of these sizes can run all at once, the largest packed first: an upper bound, and near."""
    counts: dict[int, int] = defaultdict(int)
    for one in slots:
        counts[one] += 1
    free: dict[int, int] = defaultdict(int)  #: free slots -> nodes
    for size in sorted(counts, reverse=True):
        _fill(size, counts[size], slots_per_node, free)
    return sum(free.values())


def _fill(size: int, count: int, slots_per_node: int, free: dict[int, int]) -> None:
    """Put ``count`` tasks on the fullest nodes that have room, then on new ones."""
    for room in sorted(room for room in free if room >= size):
        if not count:
            return
        each = room // size
        nodes = min(free[room], math.ceil(count / each))
        _use(room, nodes, size, min(count, nodes * each), free)
        count -= min(count, nodes * each)
    if count:
        nodes = math.ceil(count / (slots_per_node // size))
        free[slots_per_node] += nodes
        _use(slots_per_node, nodes, size, count, free)


def _use(room: int, nodes: int, size: int, count: int, free: dict[int, int]) -> None:
    """``count`` tasks fill ``nodes`` nodes that have ``room``, the last one perhaps partly."""
    each = room // size
    full, rest = divmod(count, each)
    free[room] -= nodes
    free[room - each * size] += full
    if rest:
        free[room - rest * size] += 1


def _price(pool: Capacity, nodes: int) -> float | None:
    """Of so many nodes, for an hour."""
    return None if pool.price is None or not nodes else round(pool.price * nodes, 3)


def start_nodes(slots: Iterable[int], pool: Capacity) -> tuple[int, int]:
    """Dedicated and spot nodes to begin with: as many as jobs need, between fewest and most, dedicated ones first."""
    needed = nodes_for(slots, pool.slots)
    dedicated = max(pool.dedicated.min, min(needed, pool.dedicated.max))
    spot = max(pool.spot.min, min(max(0, needed - dedicated), pool.spot.max))
    return dedicated, spot
