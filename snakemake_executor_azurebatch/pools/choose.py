"""Which pool a job goes to, and how many slots it takes there: the cheapest that fits (pure).

A task takes the largest of its shares of a node: cores, memory, disk, GPUs. What it costs is that share of the node's
price, and a little more for larger nodes, which are seldom full. Jobs that ask for no GPU go to nodes with GPUs only
where nothing else fits. Of pools that cost the same, one that fetches the job's image beforehand, then the first.
Pools that name rules are for those rules only, unless a rule asks for a pool itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.pools.catalogue import SPOT_PRICE, VmSize
from snakemake_executor_azurebatch.pools.description import NO_NODES, PoolDescription, Span
from snakemake_executor_azurebatch.pools.naming_rules import not_open, only_named, open_to, shown_naming
from snakemake_executor_azurebatch.pools.needs import POOL_RESOURCE, SPOT_RESOURCE, VM_SIZE_RESOURCE, Needs

#: The part of a node that is paid for and not used, on the average.
IDLE = 0.05
#: What the system, the node agent and the container engine keep for themselves: a twentieth of the memory.
MEMORY_FOR_TASKS = 0.95
#: What tasks may use of a temporary disk: images and the cache of inputs need the rest.
DISK_FOR_TASKS = 0.9
#: Without a temporary disk, Azure Batch has its folders on the OS disk, of this size where nothing else is asked for
#: (source: Azure Batch documentation, "osDisk"), and this much of it is the system's.
OS_DISK_MIB, OS_NEEDS_MIB = 30 * 1024, 16 * 1024


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a node of a pool offers to tasks. None: not known."""

    pool: str  #: name or id, as rules call it
    pool_id: str
    vm_size: str | None
    slots: int
    cores: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    gpus: float | None = None
    gpu_model: str = ""
    dedicated: Span = NO_NODES
    spot: Span = NO_NODES
    price: float | None = None  #: of a node for an hour, Standard_D4s_v5 = 1; mixed pools: on the average
    images: tuple[str, ...] = ()
    has_containers: bool = True
    has_limits: bool = True  #: containers get no more than their rule asks for
    rules: tuple[str, ...] = ()  #: patterns of the names of rules that it is for; empty: for those no pool names


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a job goes."""

    needs: Needs
    pool: Capacity
    slots: int
    why: str

    @property
    def memory_mib(self) -> int | None:
        """Memory that the task may use: what it asked for; None where it asked for nothing."""
        return self.needs.memory_mib or None

    @property
    def price(self) -> float | None:
        """Of the job's share of a node, for an hour; None where that is not known."""
        return None if self.pool.price is None else self.pool.price * self.slots / self.pool.slots


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a job can go nowhere: one sentence."""

    text: str


def capacity_of(pool: PoolDescription, *, slots: int | None = None, has_containers: bool = True) -> Capacity:
    """What a described pool offers. ``slots``: of the pool that is there, which may differ from the description."""
    size = pool.size
    return Capacity(
        pool=pool.name,
        pool_id=pool.pool_id,
        vm_size=size.name if size else pool.vm_size,  # the service may write it otherwise
        slots=slots or pool.slots or 1,
        cores=size.cores if size else None,
        memory_mib=int(size.memory_mib * MEMORY_FOR_TASKS) if size else None,
        disk_mib=pool.task_disk_mib or (_disk_mib(pool, size) if size else None),
        gpus=size.gpus if size else None,
        gpu_model=size.gpu_model if size else "",
        dedicated=pool.dedicated,
        spot=pool.spot,
        price=_price(pool, size),
        images=pool.images,
        has_containers=has_containers,
        has_limits=pool.has_limits,
        rules=pool.rules,
    )


def _disk_mib(pool: PoolDescription, size: VmSize) -> int:
    if size.temporary_disk_mib:
        return int(size.temporary_disk_mib * DISK_FOR_TASKS)
    return (pool.os_disk_gib * 1024 if pool.os_disk_gib else OS_DISK_MIB) - OS_NEEDS_MIB


def _price(pool: PoolDescription, size: VmSize | None) -> float | None:
    if size is None or not size.price:
        return None
    nodes = pool.dedicated.max + pool.spot.max
    spot = pool.spot.max / nodes if nodes else 0.0
    return size.price * (1 - spot + spot * SPOT_PRICE)


def place(needs: Needs, pools: Sequence[Capacity]) -> Placement | Misfit:
    """Where a job goes, or why it can go nowhere."""
    is_free = needs.pool is None
    may = open_to(needs.rules, pools) if is_free else pools
    if not may:
        return Misfit(not_open(needs.rule, needs.rules, pools))
    named = only_named(needs.rules, may) if is_free else ""
    wanted = [pool for pool in may if _is_asked_for(needs, pool)]
    if not wanted:
        return Misfit(_not_there(needs, may) + named)
    fitting = [pool for pool in wanted if not _misfits(needs, pool)]
    if not fitting:
        return Misfit(_too_large(needs, wanted) + named)
    best = min(fitting, key=lambda pool: _rank(needs, pool))
    is_only = len(wanted) == len(pools) == 1
    return Placement(needs, best, slots_of(needs, best), _why(needs, best, fitting, is_only=is_only))


def place_all(needs: Iterable[Needs], pools: Sequence[Capacity]) -> tuple[list[Placement], list[str]]:
    """Where all jobs go, and each problem once."""
    placed = [place(one, pools) for one in needs]
    problems = dict.fromkeys(found.text for found in placed if isinstance(found, Misfit))
    return [found for found in placed if isinstance(found, Placement)], list(problems)


def slots_of(needs: Needs, pool: Capacity) -> int:
    """The slots that a job takes on a node: its largest share, one at least, all at most."""
    shares = [
        needs.cores / (pool.cores or pool.slots),
        needs.memory_mib / pool.memory_mib if pool.memory_mib else 0,
        needs.disk_mib / pool.disk_mib if pool.disk_mib else 0,
        needs.gpus / pool.gpus if pool.gpus else 0,
    ]
    # Rounded first, so that three of three thirds are not four.
    return min(pool.slots, max(1, math.ceil(round(max(shares) * pool.slots, 6))))


def _rank(needs: Needs, pool: Capacity) -> tuple[bool, float, bool]:
    """The best comes first."""
    wastes_gpus = bool(pool.gpus) and not (needs.gpus or needs.gpu_model)
    return wastes_gpus, _cost(needs, pool), needs.image not in pool.images


def _cost(needs: Needs, pool: Capacity) -> float:
    share = slots_of(needs, pool) / pool.slots
    return math.inf if pool.price is None else round(pool.price * (share + IDLE), 9)


def _is_asked_for(needs: Needs, pool: Capacity) -> bool:
    named = needs.pool is None or needs.pool.lower() in (pool.pool.lower(), pool.pool_id.lower())
    return named and (needs.vm_size is None or needs.vm_size.lower() == (pool.vm_size or "").lower())


@dataclass(frozen=True, slots=True)
class _Demand:
    """Something that a job may need more of than a node has."""

    needed: Callable[[Needs], float]
    offered: Callable[[Capacity], float | None]
    shown: Callable[[float], str]


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB".replace(".0 GiB", " GiB")


def _count(count: float, name: str) -> str:
    return f"{count:g} {name}{'' if count == 1 else 's'}"


_DEMANDS = (
    _Demand(lambda needs: needs.cores, lambda pool: pool.cores or pool.slots, lambda count: _count(count, "core")),
    _Demand(lambda needs: needs.memory_mib, lambda pool: pool.memory_mib, lambda mib: f"{_size(mib)} of memory"),
    _Demand(lambda needs: needs.disk_mib, lambda pool: pool.disk_mib, lambda mib: f"{_size(mib)} of disk"),
    _Demand(lambda needs: needs.gpus, lambda pool: pool.gpus, lambda count: _count(count, "GPU")),
)


def _misfits(needs: Needs, pool: Capacity) -> list[str]:
    """Why a job cannot go to a pool, in short."""
    # Somebody who names the pool or its size knows what is not in the catalogue.
    is_named = needs.pool is not None or needs.vm_size is not None
    found = []
    for demand in _DEMANDS:
        offered, needed = demand.offered(pool), demand.needed(needs)
        if (offered is None and needed and not is_named) or (offered is not None and needed > offered):
            found.append(f"{demand.shown(offered)}" if offered is not None else "a VM size that is not known")
    if needs.gpu_model and pool.gpu_model.lower() != needs.gpu_model.lower() and not (is_named and pool.gpus is None):
        found.append(f"GPUs of model {pool.gpu_model}" if pool.gpu_model else "no GPUs")
    if not needs.may_be_spot and pool.spot.max:
        found.append("spot nodes")
    if needs.image and not pool.has_containers:
        found.append("no containers")
    return found


def _not_there(needs: Needs, pools: Sequence[Capacity]) -> str:
    if needs.pool is not None and any(_is_asked_for(Needs(needs.rule, pool=needs.pool), pool) for pool in pools):
        return (
            f"rule {needs.rule}: pool {needs.pool} ({POOL_RESOURCE}) is not of VM size {needs.vm_size} "
            f"({VM_SIZE_RESOURCE}): give one of them."
        )
    if needs.pool is not None:
        there = ", ".join(pool.pool for pool in pools)
        return f"rule {needs.rule}: there is no pool {needs.pool} ({POOL_RESOURCE}); there are {there}."
    sizes = ", ".join(dict.fromkeys(pool.vm_size for pool in pools if pool.vm_size)) or "none that is known"
    return f"rule {needs.rule}: no pool is of VM size {needs.vm_size} ({VM_SIZE_RESOURCE}); there are {sizes}."


def _too_large(needs: Needs, pools: Sequence[Capacity]) -> str:
    """What rules out every pool by itself, with the most that there is; else what rules out each of them."""
    for demand in _DEMANDS:
        known = [(offered, pool) for pool in pools if (offered := demand.offered(pool)) is not None]
        best = max(known, key=lambda found: found[0], default=None)
        if best is not None and len(known) == len(pools) and demand.needed(needs) > best[0]:
            return (
                f"rule {needs.rule} needs {demand.shown(demand.needed(needs))}; the most that a node gives to tasks is "
                f"{demand.shown(best[0])} (pool {best[1].pool}, {best[1].vm_size or 'VM size not known'})."
            )
    if not needs.may_be_spot and all(pool.spot.max for pool in pools):
        return f"rule {needs.rule} is not for spot nodes ({SPOT_RESOURCE}), and every pool that it may use has some."
    each = "; ".join(f"{pool.pool} has {' and '.join(_misfits(needs, pool))}" for pool in pools)
    return f"rule {needs.rule} needs {_shown_needs(needs)}, and no pool has all of it: {each}."


def _shown_needs(needs: Needs) -> str:
    parts = [demand.shown(demand.needed(needs)) for demand in _DEMANDS if demand.needed(needs)]
    parts += [f"GPU model {needs.gpu_model}"] if needs.gpu_model else []
    parts += ["dedicated nodes"] if not needs.may_be_spot else []
    parts += [f"image {needs.image}"] if needs.image else []
    return ", ".join(parts)


def _why(needs: Needs, best: Capacity, fitting: Sequence[Capacity], *, is_only: bool) -> str:
    if needs.pool is not None:
        return "asked for (azurebatch_pool)"
    asked = f"of size {needs.vm_size} (azurebatch_vm_size), " if needs.vm_size is not None else ""
    asked = f"named by rules of pool {shown_naming(best, needs.rules)}, {asked}" if best.rules else asked
    if is_only:
        return f"{asked}the only pool"
    if len(fitting) == 1:
        return f"{asked}the only pool that fits"
    return f"{asked}the cheapest of {len(fitting)} pools that fit" + (" (no prices)" if best.price is None else "")
