"""Makes sure that the pool is there: used as it is where it exists, made where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.clients import FIRST_CALL
from snakemake_executor_azurebatch.errors import AlreadyExists, NotFound, ServiceError, service
from snakemake_executor_azurebatch.pools.catalogue import spelled
from snakemake_executor_azurebatch.pools.formula import is_lease

if TYPE_CHECKING:
    from datetime import datetime

    from azure.batch import BatchClient, models

#: Metadata of everything that this plugin makes.
CREATED_BY = ("created-by", "snakemake-executor-plugin-azurebatch")


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool that is there."""

    pool_id: str
    slots_per_node: int
    has_containers: bool  #: then every task names an image; else none may (source: Batch documentation)
    created: bool  #: by this run
    is_leased: bool = False  #: its formula is one that runs keep
    is_ours: bool = True  #: this plugin has made it
    vm_size: str = ""
    nodes: tuple[int, int] | None = None  #: dedicated and spot ones that it is to have; None: a formula decides
    resized: datetime | None = None  #: when its last resize ended, of a pool that was there: what that told is old


#: What makes a pool. Raises ServiceError.
Create = Callable[["models.BatchPoolCreateOptions"], None]


def make_pool(
    client: BatchClient,
    pool_id: str,
    request: Callable[[], models.BatchPoolCreateOptions],
    create: Create | None = None,
) -> Pool:
    """Make a pool that was not there a moment ago, with ``create`` in place of Azure Batch's own interface.

    Raises ServiceError, and what ``request`` raises.
    """
    created = True
    options = request()
    try:
        with service(f"creating pool {pool_id}"):
            (create or client.create_pool)(options)
    except AlreadyExists:  # another run made it in between
        created = False
    made = find_pool(client, pool_id)
    if made is None:
        raise NotFound(f"pool {pool_id} was created but cannot be found: was it deleted at once?")
    return as_pool(made, created=created)


def grow_pool(client: BatchClient, pool: models.BatchPool, nodes: tuple[int, int], say: Callable[[str], None]) -> bool:
    """Give a pool of an earlier run the nodes that this one can use; it never gets fewer. Whether it does now.

    A pool that is being resized cannot be resized (source: Azure Batch reference, "PoolBeingResized"): then that is
    told, and the pool stays as it is. Raises ServiceError.
    """
    from azure.batch import models

    dedicated = max(nodes[0], pool.target_dedicated_nodes or 0)
    spot = max(nodes[1], pool.target_low_priority_nodes or 0)
    has_enough = dedicated == pool.target_dedicated_nodes and spot == pool.target_low_priority_nodes
    has_enough = has_enough and not pool.resize_errors  # else it is short of nodes, and tries only when it is told to
    if has_enough or pool.enable_auto_scale:
        return False
    wanted = models.BatchPoolResizeOptions(target_dedicated_nodes=dedicated, target_low_priority_nodes=spot)
    try:
        with service(f"resizing pool {pool.id}"):
            # The SDK looks at the pool in a thread of its own until that is steady; nothing here waits for it.
            client.begin_resize_pool(str(pool.id), wanted, polling_interval=60)
    except ServiceError as error:
        if error.code != "PoolBeingResized":
            raise
        say(f"Pool {pool.id} is being resized, and keeps the nodes that it gets.")
        return False
    return True


def find_pool(client: BatchClient, pool_id: str, hear: Callable[[Any], None] | None = None) -> models.BatchPool | None:
    """The pool, if it is there. Raises ServiceError; a pool that is being deleted cannot be used.

    ``hear`` is given the answer as azure-core has it, whatever it is.
    """
    try:
        with service(f"looking for pool {pool_id}"):
            pool = client.get_pool(pool_id, raw_response_hook=hear, **FIRST_CALL)
    except NotFound:
        return None
    if pool.state == "deleting":
        raise ServiceError(f"pool {pool_id} is being deleted: try again when it is gone, or name another pool")
    return pool


def as_pool(pool: models.BatchPool, *, created: bool) -> Pool:
    """What of a pool a run has to know."""
    machine = pool.virtual_machine_configuration
    nodes = (pool.target_dedicated_nodes or 0, pool.target_low_priority_nodes or 0)
    return Pool(
        pool_id=str(pool.id),
        slots_per_node=pool.task_slots_per_node or 1,
        has_containers=bool(machine and machine.container_configuration),
        created=created,
        is_leased=is_lease(pool.auto_scale_formula),
        vm_size=spelled(str(pool.vm_size or "")),
        nodes=None if pool.enable_auto_scale else nodes,
        is_ours=any((item.name, item.value) == CREATED_BY for item in pool.metadata or ()),
        resized=None if created else pool.allocation_state_transition_time,
    )
