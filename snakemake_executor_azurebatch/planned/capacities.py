"""The pools that a plan chooses from. Azure is asked only about pools that the user has named by their ids."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.decisions import Decisions
from snakemake_executor_azurebatch.errors import AzureBatchError, ServiceError
from snakemake_executor_azurebatch.options import Account, PoolOptions
from snakemake_executor_azurebatch.pools.catalogue import bundled
from snakemake_executor_azurebatch.pools.choose import Capacity, capacity_of
from snakemake_executor_azurebatch.pools.config import Pools
from snakemake_executor_azurebatch.pools.description import PoolDescription, Span
from snakemake_executor_azurebatch.pools.ensure import as_pool, find_pool
from snakemake_executor_azurebatch.pools.managed import is_managed
from snakemake_executor_azurebatch.pools.spec import PoolSpec
from snakemake_executor_azurebatch.run.local_service import running_service
from snakemake_executor_azurebatch.run.pool_sources import FromFile

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Offered:
    """Pools as far as they are known. ``problems``: why some of them cannot be used."""

    capacities: tuple[Capacity, ...]
    problems: tuple[str, ...] = ()


def offered(decide: Decisions, image: str, say: Say, *, may_ask: bool) -> Offered:
    """What there is to choose from, as the run will find it."""
    account = _account(decide) if may_ask else None
    try:
        if decide.pools is not None:
            return _of_file(decide.pools, account, say)
        return Offered((_the_only_pool(decide, image, account),))
    except ServiceError as error:
        say(f"Note: {error}. The plan takes pools for what the settings say.")
        return offered(decide, image, say, may_ask=False)
    except AzureBatchError as error:
        return Offered((), (str(error),))


def _account(decide: Decisions) -> Account | None:
    if decide.options.account is not None:
        return decide.options.account
    local = running_service()  # the one that a run would start has no pools
    return None if local is None else local.account


def _of_file(pools: Pools, account: Account | None, say: Say) -> Offered:
    if account is None or all(pool.given_id is None and not is_managed(pool) for pool in pools.pools):
        for pool in pools.pools:
            if pool.vm_size is None:
                say(f"Note: what pool {pool.pool_id} offers is known to Azure Batch only, which is not asked.")
        return Offered(tuple(capacity_of(pool) for pool in pools.pools))
    with clients.batch_client(account) as client:
        return Offered(tuple(FromFile(client, pools, (), {}, say, resource=account.resource).capacities()))


def _the_only_pool(decide: Decisions, image: str, account: Account | None) -> Capacity:
    """That of the settings: every job goes there."""
    wanted = decide.options.pool
    pool_id = PoolSpec(wanted, image).pool_id
    with ExitStack() as stack:
        there = None
        if account is not None and wanted.pool_id is not None:
            there = find_pool(stack.enter_context(clients.batch_client(account)), pool_id)
    if there is None:
        return capacity_of(_described(wanted, pool_id, wanted.vm_size, wanted.dedicated_nodes, wanted.spot_nodes))
    known = as_pool(there, created=False)
    nodes = there.target_dedicated_nodes or 0, there.target_low_priority_nodes or 0
    described = _described(wanted, pool_id, str(there.vm_size), *nodes)
    return capacity_of(described, slots=known.slots_per_node, has_containers=known.has_containers)


def _described(wanted: PoolOptions, pool_id: str, vm_size: str, dedicated: int, spot: int) -> PoolDescription:
    return PoolDescription(
        name=pool_id,
        given_id=pool_id,
        vm_size=vm_size,
        size=bundled().get(vm_size.lower()),
        dedicated=Span(dedicated, dedicated),
        spot=Span(spot, spot),
        task_slots=wanted.task_slots_per_node,
        has_limits=False,
    )
