"""The pools of ``pools.yaml`` at the service: what they offer, and each made or found when its first job comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import AzureBatchError, service
from snakemake_executor_azurebatch.pools.asking import create_options
from snakemake_executor_azurebatch.pools.choose import Capacity, capacity_of
from snakemake_executor_azurebatch.pools.config import Pools
from snakemake_executor_azurebatch.pools.description import NO_NODES, PoolDescription, Span
from snakemake_executor_azurebatch.pools.differences import differences
from snakemake_executor_azurebatch.pools.ensure import Create, Pool, as_pool, find_pool, grow_pool, make_pool
from snakemake_executor_azurebatch.pools.formula import Bounds
from snakemake_executor_azurebatch.pools.managed import create_pool, is_managed, why_not
from snakemake_executor_azurebatch.pools.os_image import choose_image, read_supported
from snakemake_executor_azurebatch.pools.planning import start_nodes
from snakemake_executor_azurebatch.pools.registries import host_of, refused_images
from snakemake_executor_azurebatch.pools.scaling import Fixed, Leased
from snakemake_executor_azurebatch.resource_manager import AccountResource
from snakemake_executor_azurebatch.run.batch_job import PATIENCE_S
from snakemake_executor_azurebatch.run.lease_of_run import Lessee, PoolLease, may_lease

if TYPE_CHECKING:
    from azure.batch import BatchClient, models


def _delete(client: BatchClient, pool_id: str) -> None:
    with service(f"deleting pool {pool_id}"):
        client.begin_delete_pool(pool_id, polling_interval=1).wait(PATIENCE_S)


class FromFile:
    """Those with an id that are there already are asked what they are.

    ``images``: what nodes of new pools fetch beforehand, that of the run first, besides what the file says.
    """

    def __init__(
        self,
        client: BatchClient,
        pools: Pools,
        images: Sequence[str],
        metadata: Mapping[str, str],
        say: Callable[[str], None],
        *,
        resource: AccountResource | None = None,
    ) -> None:
        self._client = client
        self._pools = {pool.name: pool for pool in pools.pools}
        self._catalogue = pools.catalogue
        self._opened: dict[str, list[str]] = defaultdict(list)
        self._images = images
        self._metadata = metadata
        self._say = say
        self._resource = resource  #: the account, for pools that Azure Batch itself cannot make

    def capacities(self) -> Sequence[Capacity]:
        """What there is to choose from. Raises AzureBatchError, naming all pools that cannot be used."""
        problems: list[str] = []
        found = [self._capacity(pool, problems) for pool in self._pools.values()]
        if problems:
            raise AzureBatchError("\n".join(["These pools cannot be used:", *problems]))
        return found

    def _capacity(self, pool: PoolDescription, problems: list[str]) -> Capacity:
        there = find_pool(self._client, pool.pool_id) if pool.given_id is not None else None
        if there is None:
            if pool.given_id is not None and (not pool.vm_size or not pool.dedicated.max + pool.spot.max):
                problems.append(
                    f"pool {pool.given_id} is not there: make it, or describe it with vm_size and nodes, so that it "
                    "can be made"
                )
            if (why := self._why_unmakeable(pool)) and not self._is_there(pool):
                problems.append(why)
            problems += [
                f"pool {pool.name} cannot fetch image {image}: {host_of(image)} wants a sign-in. Write that in the "
                "pool's registries (or anonymous: true, if it does not)"
                for image in refused_images(dict.fromkeys((*self._images, *pool.images)), pool.registries)
            ]
            return capacity_of(pool)
        for difference in differences(pool, there):
            self._say(f"Pool {pool.pool_id} is used as it is: {difference}.")
        machine = there.virtual_machine_configuration
        if machine is None or not machine.container_configuration:
            problems.append(f"pool {pool.pool_id} runs tasks without containers: {_CONTAINERS}")
        return capacity_of(self._as_it_is(pool, there), slots=there.task_slots_per_node or 1)

    def _why_unmakeable(self, pool: PoolDescription) -> str:
        """Why a pool could not be made, if it were to be; empty: it can."""
        if not is_managed(pool) or not (missing := why_not(self._resource)):
            return ""
        what = " and ".join(key for key in ("identities", "tags") if getattr(pool, key))
        return (
            f"pool {pool.name} has {what}, so that only Azure Resource Manager can make it, and this is missing: "
            f"{missing}"
        )

    def _is_there(self, pool: PoolDescription) -> bool:
        """One of an earlier run; those with an id were looked for already."""
        return pool.given_id is None and find_pool(self._client, pool.pool_id) is not None

    def _as_it_is(self, pool: PoolDescription, there: models.BatchPool) -> PoolDescription:
        dedicated, spot = there.target_dedicated_nodes or 0, there.target_low_priority_nodes or 0
        if there.enable_auto_scale:  # what it may have is in its formula
            dedicated = dedicated or 1
        return replace(
            pool,
            vm_size=there.vm_size,
            size=self._catalogue.get(str(there.vm_size).lower()),
            dedicated=Span(dedicated, dedicated),
            spot=Span(spot, spot),
        )

    def open(self, name: str, slots: Sequence[int], lessee: Lessee) -> tuple[Pool, PoolLease | None]:
        """Find the pool or make it, for tasks of these slots; with its lease, not yet begun. Raises AzureBatchError."""
        described = self._pools[name]
        self._opened[name].append(described.pool_id)
        bounds = Bounds(described.dedicated, described.spot, described.slots or 1)
        lease = PoolLease(lessee, described.pool_id, bounds, slots) if described.is_leased else None
        nodes = start_nodes(slots, capacity_of(described))
        there = find_pool(self._client, described.pool_id, lease.hear if lease else None)
        if there is None:
            size = lease.size if lease else lambda: Fixed(*nodes)
            request = partial(self._request, described, size)
            return make_pool(self._client, described.pool_id, request, self._creating(described)), lease
        pool = as_pool(there, created=False)
        if lease is not None and may_lease(
            pool, is_users_own=described.given_id is not None, scaling=described.scaling
        ):
            return pool, lease
        if described.given_id is None:
            is_growing = grow_pool(self._client, there, nodes, self._say)
            if is_growing and pool.nodes is not None:
                pool = replace(pool, nodes=(max(pool.nodes[0], nodes[0]), max(pool.nodes[1], nodes[1])))
        return pool, None

    def open_next(self, name: str, slots: Sequence[int], lessee: Lessee) -> tuple[Pool, PoolLease | None] | None:
        """The pool of the next VM size from now on; None where there is none. Raises AzureBatchError."""
        described = self._pools[name].next(self._catalogue)
        if described is None:
            return None
        self._pools[name] = described
        return self.open(name, slots, lessee)

    def _creating(self, pool: PoolDescription) -> Create | None:
        """What makes a pool; None: Azure Batch itself. Raises AzureBatchError."""
        if why := self._why_unmakeable(pool):  # it was there when the run began, or is a twin of one that is
            raise AzureBatchError(why)
        return partial(create_pool, self._resource, pool) if self._resource and is_managed(pool) else None

    def _request(self, pool: PoolDescription, size: Callable[[], Fixed | Leased]) -> models.BatchPoolCreateOptions:
        with service("looking which machine images Azure Batch supports"):
            supported = read_supported(self._client.list_supported_images())
        chosen = choose_image(pool.os_image, pool.node_agent_sku, supported, datetime.now(UTC))
        if isinstance(chosen, str):
            raise AzureBatchError(f"pool {pool.name}: {chosen}")
        if chosen.warning:
            self._say(f"Warning: pool {pool.name}: {chosen.warning}.")
        return create_options(pool, chosen, self._images, size(), self._metadata)

    def pool_ids(self) -> set[str]:
        """Of all pools that are described, and of the twins that an earlier run may have made."""
        twins = {_twin_of(pool).pool_id for pool in self._pools.values() if pool.spot.max}
        return twins | {pool.pool_id for pool in self._pools.values()}

    def pool_id(self, name: str) -> str:
        """Of one pool."""
        return self._pools[name].pool_id

    def has_spot(self, name: str) -> bool:
        """Whether nodes of this pool can be taken away, as it is described."""
        return bool(self._pools[name].spot.max)

    def twin(self, name: str) -> str:
        """Name of a pool like this one, of dedicated nodes only: as many as this one may have of both kinds."""
        twin = _twin_of(self._pools[name])
        return self._pools.setdefault(twin.name, twin).name

    def delete(self, name: str) -> None:
        """Delete what was opened, where it is none of the user's own. Raises ServiceError."""
        if self._pools[name].given_id is None:
            for pool_id in dict.fromkeys(self._opened[name]):
                _delete(self._client, pool_id)


#: No name of the file ends so: names have letters, digits, '-' and '_'.
_TWIN = ".dedicated"


def _twin_of(pool: PoolDescription) -> PoolDescription:
    nodes = Span(max=pool.dedicated.max + pool.spot.max)
    return replace(pool, name=f"{pool.name}{_TWIN}", given_id=None, dedicated=nodes, spot=NO_NODES)


_CONTAINERS = "pools of pools.yaml need a container configuration"
