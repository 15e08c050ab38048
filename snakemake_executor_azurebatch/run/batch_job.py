"""The Batch job of a run: made at its start or taken over from a killed run, kept alive with it, ended at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch import tasks
from snakemake_executor_azurebatch.errors import AlreadyExists, NotFound, ServiceError, service
from snakemake_executor_azurebatch.run.elapsed import Since

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

#: How long the end of a run waits to see its Batch job end. The request itself has been accepted by then.
PATIENCE_S = 4.0
#: Most Batch jobs end at once where their tasks have: nobody is to wait longer for seeing that.
LOOK_EVERY_S = 0.25

#: What the end of a run may find: somebody else was quicker.
_ENDED = ("JobNotFound", "JobCompleted", "JobBeingTerminated", "JobBeingDeleted")


@dataclass(frozen=True, slots=True)
class LeftJob:
    """An active Batch job of a run that is dead."""

    job_id: str
    pool_id: str
    created: Since


def find_leftovers(client: BatchClient, metadata: Mapping[str, str], take: Callable[[str], bool]) -> list[LeftJob]:
    """The active Batch jobs of runs that were killed or that have left, youngest first. Raises ServiceError.

    ``metadata``: what all Batch jobs of this workdir have, and no others. Of these ``take`` claims one by its id, and
    says no where it is another run's, which lives: see ``run.claims``.
    """
    with service("looking for Batch jobs that killed runs left"):
        active = list(
            client.list_jobs(filter="state eq 'active'", select=["id", "metadata", "poolInfo", "creationTime"])
        )
    now = datetime.now(UTC)
    active.sort(key=lambda job: job.creation_time or now, reverse=True)
    return [
        LeftJob(
            job_id=str(job.id),
            pool_id=str(job.pool_info.pool_id if job.pool_info else ""),
            created=Since.ago(max(0.0, (now - (job.creation_time or now)).total_seconds())),
        )
        for job in active
        if metadata.items() <= _as_dict(job).items() and take(str(job.id))
    ]


def end_leftovers(client: BatchClient, left: Iterable[LeftJob]) -> None:
    """End them: their tasks would only take the nodes from this run's. Raises ServiceError."""
    for job in left:
        BatchJob(client, job.job_id, 0).end(delete=False, patience_s=0)


def _as_dict(job: models.BatchJob) -> dict[str, str]:
    return {item.name: item.value for item in job.metadata or []}


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One Batch job. ``lifetime_s`` is how long it goes on without its controller."""

    client: BatchClient
    job_id: str
    lifetime_s: float
    _created: Since = field(default_factory=Since.ago)
    _is_ended: threading.Event = field(default_factory=threading.Event)  #: by a call of ``end`` that was accepted

    def create(self, pool_id: str, environment: Mapping[str, str], metadata: Mapping[str, str]) -> None:
        """Make it; ``environment`` is every task's. Raises ServiceError.

        One with this id is this one: azure-core repeats a request whose answer was lost.
        """
        options = tasks.job_options(
            self.job_id, pool_id, environment=environment, lifetime_s=self.lifetime_s, metadata=metadata
        )
        with suppress(AlreadyExists), service(f"creating Batch job {self.job_id}"):
            self.client.create_job(options)

    def extend(self, lifetime_s: float | None = None) -> None:
        """Let it go on for its whole lifetime again, or another: its wall clock runs from its creation.

        It does so while this machine sleeps, too. Raises ServiceError.
        """
        from azure.batch import models

        clock = timedelta(seconds=self._created.elapsed_s + (lifetime_s or self.lifetime_s))
        constraints = models.BatchJobConstraints(max_wall_clock_time=clock)
        with service(f"extending Batch job {self.job_id}"):
            self.client.update_job(self.job_id, models.BatchJobUpdateOptions(constraints=constraints))

    def delete_task(self, task_id: str) -> None:
        """Remove a task, so that another one can have its id. Raises ServiceError, not where it is gone already."""
        try:
            with service(f"removing task {task_id}"):
                self.client.delete_task(self.job_id, task_id)
        except NotFound:
            return

    def end(self, *, delete: bool, patience_s: float = PATIENCE_S) -> None:
        """Terminate or delete it; either ends its tasks. Raises ServiceError, not where it has ended already.

        Of several calls the first one counts that the service has accepted.
        """
        if self._is_ended.is_set():
            return
        try:
            with service(f"{'deleting' if delete else 'terminating'} Batch job {self.job_id}"):
                self._end(delete, patience_s)
        except ServiceError as error:
            if error.code not in _ENDED:
                raise

    def _end(self, delete: bool, patience_s: float) -> None:
        every_s: Any = LOOK_EVERY_S  # declared as an integer, used as a pause
        if delete:
            ending = self.client.begin_delete_job(self.job_id, polling_interval=every_s)
        else:
            # azure-batch 15.1 cannot send the request without a reason: it then has no content type.
            reason: Any = {"terminateReason": "RunEnded"}
            ending = self.client.begin_terminate_job(self.job_id, reason, polling_interval=every_s)
        self._is_ended.set()
        ending.wait(patience_s)
