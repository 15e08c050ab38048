"""The pool that a run's Batch job is on. When Azure has no nodes for it, the job goes to one of the next VM size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import AzureBatchError, NotFound, service
from snakemake_executor_azurebatch.pools.ensure import Pool
from snakemake_executor_azurebatch.pools.formula import Bounds
from snakemake_executor_azurebatch.run.lease_of_run import PoolLease
from snakemake_executor_azurebatch.run.leasing import Wants
from snakemake_executor_azurebatch.run.mending import Mended, Mender
from snakemake_executor_azurebatch.run.node_time import Kind, NodeTimes
from snakemake_executor_azurebatch.run.patience import BRIEF

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

    from snakemake_executor_azurebatch.run.judge import Sighting
    from snakemake_executor_azurebatch.run.oversee import NodeSight

#: How long a Batch job takes to be disabled, which ends none of its tasks here: none runs.
DISABLE_PATIENCE_S = 60.0

#: Makes or finds the pool of the next VM size; None: there is none. Raises AzureBatchError.
Successor = Callable[[], "tuple[Pool, PoolLease | None] | None"]


def no_successor() -> None:
    """For a pool of which there is one VM size."""
    return


class PoolInUse:
    """To be used from the watcher's thread, but for ``wants``, ``leave``, ``hurry`` and ``stop``."""

    def __init__(self, client: BatchClient, pool: Pool, lease: PoolLease | None, successor: Successor) -> None:
        self.wants = Wants()
        self.pool = pool
        self._client = client
        self._lease = lease
        self.node_times = NodeTimes()
        self._all_leases = [lease] if lease is not None else []
        self._successor = successor
        self.batch_job_id = ""
        self._mender = self._new_mender()
        if lease is not None:
            lease.start(self.wants, is_new=pool.created)

    @property
    def pool_id(self) -> str:
        """Of the pool that the Batch job is on now."""
        return self.pool.pool_id

    @property
    def old_resize(self) -> datetime | None:
        """When the last resize before this run ended: what that told is old where there will be another by itself."""
        return self.pool.resized if self._lease is not None else None

    @property
    def bounds(self) -> Bounds | None:
        """What the pool may have, where this run leases it."""
        return self._lease.bounds if self._lease is not None else None

    def saw(self, nodes: Sequence[NodeSight]) -> None:
        """These are the nodes of the pool now."""
        self.wants.saw_nodes(nodes)
        self.node_times.saw(nodes, self.pool.vm_size)

    def completed(self, sighting: Sighting) -> None:
        """This task needs no node any more."""
        self.wants.closed([sighting.task_id])
        self.node_times.worked(sighting)

    def node_s(self) -> dict[Kind, float]:
        """Seconds that there were nodes for this run, at least."""
        bounds = self.bounds
        dedicated, spot = (bounds.dedicated.max, bounds.spot.max) if bounds else self.pool.nodes or (1, 0)
        return self.node_times.seconds(Kind(self.pool.vm_size, is_spot=bool(spot and not dedicated)))

    @property
    def is_leased(self) -> bool:
        """Whether this run has its nodes by a lease."""
        return self._lease is not None

    @property
    def owes_nodes(self) -> bool:
        """Whether the pool has no nodes only because broken ones are being replaced."""
        return self._mender.owes_nodes

    def mend(self, nodes: Sequence[NodeSight]) -> Mended:
        """Replace broken nodes, or ask for others beside them."""
        mended = self._mender(nodes)
        self.wants.besides(self._mender.staying)
        return mended

    def start_stderr(self, node_id: str) -> list[str]:
        """The last lines that a start task wrote to stderr."""
        return self._mender.start_stderr(node_id)

    def renew(self) -> None:
        """Ask for the nodes of the lease once more."""
        if self._lease is not None:
            self._lease.renew()

    def leave(self) -> None:
        """The run goes, and its tasks go on."""
        for lease in self._all_leases:
            lease.leave()

    def hurry(self) -> None:
        """Somebody waits for the end of the run."""
        for lease in self._all_leases:
            lease.hurry()

    def stop(self) -> None:
        """Give the nodes back. Raises ServiceError."""
        while self._all_leases:
            self._all_leases.pop().stop()

    def found(self) -> models.BatchPool | None:
        """The pool as it is now; None where it is gone. Raises ServiceError."""
        try:
            with service(f"looking at pool {self.pool_id}"):
                return self._client.get_pool(self.pool_id, **BRIEF)
        except NotFound:
            return None

    def move(self) -> str:
        """Let the Batch job go to a pool of the next VM size; what is to be told of that, nothing where there is none.

        The pool of a Batch job can be changed while the job is disabled (source: Azure Batch reference, "Update Job").
        """
        old = self.pool_id
        try:
            found = self._successor()
            if found is None:
                return ""
            pool, lease = found
            self._move_job(pool.pool_id)
        except AzureBatchError as error:
            self._successor = no_successor
            return f"Jobs of pool {old} could not go to another VM size: {error}"
        if self._lease is not None:
            self._lease.leave()  # its nodes, if any should come after all, go when it ends
        self.pool, self._lease = pool, lease
        self._mender = self._new_mender()
        if lease is not None:
            self._all_leases.append(lease)
            lease.start(self.wants, is_new=pool.created)
        return f"Jobs of pool {old} go to pool {pool.pool_id}, of another VM size."

    def _move_job(self, pool_id: str) -> None:
        from azure.batch import models

        job = self.batch_job_id
        with service(f"moving Batch job {job} to pool {pool_id}"):
            options = models.BatchJobDisableOptions(disable_tasks=models.DisableBatchJobOption.REQUEUE)
            self._client.begin_disable_job(job, options, polling_interval=1).wait(DISABLE_PATIENCE_S)
            try:
                info = models.BatchPoolInfo(pool_id=pool_id)
                self._client.update_job(job, models.BatchJobUpdateOptions(pool_info=info))
            finally:
                self._client.begin_enable_job(job, polling_interval=1)

    def _new_mender(self) -> Mender:
        renew = self.renew if self._lease is not None else None
        return Mender(self._client, self.pool_id, renew, is_ours=self.pool.is_ours)
