"""The one pool of the settings: used as it is where it exists, made where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from snakemake_executor_azurebatch.options import LEASE
from snakemake_executor_azurebatch.pools.ensure import Pool, as_pool, find_pool, make_pool
from snakemake_executor_azurebatch.pools.scaling import Fixed
from snakemake_executor_azurebatch.pools.spec import PoolSpec, bounds_of, create_options
from snakemake_executor_azurebatch.run.lease_of_run import Lessee, PoolLease, may_lease


def open_pool(
    spec: PoolSpec, slots: Sequence[int], lessee: Lessee, metadata: Mapping[str, str]
) -> tuple[Pool, PoolLease | None]:
    """Find the pool or make it; with its lease, not yet begun, where it is leased. Raises ServiceError.

    ``slots``: of the tasks that are known before the first one is handed over.
    """
    options, client = spec.options, lessee.client
    bounds = bounds_of(options)
    lease = PoolLease(lessee, spec.pool_id, bounds, slots) if options.scaling == LEASE and bounds.most else None
    found = find_pool(client, spec.pool_id, lease.hear if lease else None)
    if found is None:
        nodes = Fixed(options.dedicated_nodes, options.spot_nodes)
        size = lease.size if lease else lambda: nodes
        return make_pool(client, spec.pool_id, lambda: create_options(spec, size(), dict(metadata))), lease
    pool = as_pool(found, created=False)
    if lease is None or not may_lease(pool, is_users_own=options.pool_id is not None, scaling=None):
        return pool, None
    bounds = replace(bounds, slots=pool.slots_per_node)
    return pool, PoolLease(lessee, spec.pool_id, bounds, slots)
