"""What runs have made in an account, found by metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.clients import FIRST_CALL
from snakemake_executor_azurebatch.errors import service
from snakemake_executor_azurebatch.pools.ensure import CREATED_BY
from snakemake_executor_azurebatch.pools.formula import Line, lines_of
from snakemake_executor_azurebatch.pools.scaling import ServiceClock
from snakemake_executor_azurebatch.run.tidy import WORKDIR_ID

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A Batch job of this plugin's, or with ``is_ours`` False somebody else's."""

    job_id: str
    state: str  #: the service's: active, completed, terminating, ...
    pool_id: str
    created: datetime | None
    workdir: str
    workdir_id: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class FoundPool:
    """A pool that this plugin has made."""

    pool_id: str
    state: str
    created: datetime | None
    workdir: str
    workdir_id: str
    nodes: int
    lines: tuple[Line, ...] = ()  #: of the runs that lease it

    def leased_until(self, now: datetime) -> datetime | None:
        """Until when a run leases it, which may not have any Batch job yet; None where none does."""
        return max((line.until for line in self.lines if line.until > now), default=None)


def all_jobs(client: BatchClient) -> list[FoundJob]:
    """All Batch jobs of the account, the newest first. Raises ServiceError, quickly where nobody answers."""
    select = ["id", "state", "metadata", "poolInfo", "creationTime"]
    with service("listing Batch jobs"):
        found = [_job(job) for job in client.list_jobs(select=select, **FIRST_CALL)]
    return sorted(found, key=lambda job: job.created or _LONG_AGO, reverse=True)


def jobs_of(client: BatchClient, workdir_id: str) -> list[FoundJob]:
    """Those of one workdir, the newest first. Raises ServiceError."""
    return [job for job in all_jobs(client) if job.is_ours and job.workdir_id == workdir_id]


def our_pools(client: BatchClient) -> tuple[list[FoundPool], datetime]:
    """The pools that this plugin has made, and the service's time, which their leases go by. Raises ServiceError."""
    clock = ServiceClock()
    with service("listing pools"):
        found = list(client.list_pools(raw_response_hook=clock.hear, **FIRST_CALL))
    return [_pool(pool) for pool in found if _is_ours(_values(pool.metadata))], clock.now()


def _is_ours(values: dict[str, str]) -> bool:
    return CREATED_BY in values.items()


def _values(metadata: Iterable[models.BatchMetadataItem] | None) -> dict[str, str]:
    return {item.name: item.value for item in metadata or ()}


def _job(job: models.BatchJob) -> FoundJob:
    values = _values(job.metadata)
    return FoundJob(
        job_id=str(job.id),
        state=str(getattr(job.state, "value", job.state)),
        pool_id=str(job.pool_info.pool_id or "") if job.pool_info else "",
        created=job.creation_time,
        workdir=values.get("workdir", ""),
        workdir_id=values.get(WORKDIR_ID, ""),
        is_ours=_is_ours(values),
    )


def _pool(pool: models.BatchPool) -> FoundPool:
    values = _values(pool.metadata)
    return FoundPool(
        pool_id=str(pool.id),
        state=str(getattr(pool.state, "value", pool.state)),
        created=pool.creation_time,
        workdir=values.get("workdir", ""),
        workdir_id=values.get(WORKDIR_ID, ""),
        nodes=(pool.current_dedicated_nodes or 0) + (pool.current_low_priority_nodes or 0),
        lines=tuple(lines_of(pool.auto_scale_formula)),
    )
