"""What the end of a run does for the next one: remembers young inputs, removes blobs that nothing needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import AzureBatchError, service
from snakemake_executor_azurebatch.staging.sweep import sweep

if TYPE_CHECKING:
    from azure.batch import BatchClient

    from snakemake_executor_azurebatch.run.ledger import Ledger
    from snakemake_executor_azurebatch.staging.index import Index
    from snakemake_executor_azurebatch.staging.store import BlobStore
    from snakemake_executor_azurebatch.staging.transfer import Transfers

#: Names the workdir in the metadata of a Batch job.
WORKDIR_ID = "workdir-id"

#: With the usual seven days, all blobs are looked at twice a day.
LOOKS_PER_RETENTION = 14


@dataclass(slots=True)
class Tidying:
    """Called at the end of a run, when its tasks have ended. ``armed``: whether the run has ever begun."""

    batch: BatchClient
    store: BlobStore
    index: Index
    transfers: Transfers
    say: Callable[[str], None]
    keep_s: float | None  #: how long blobs stay that nothing needs; None: for ever
    workdir_id: str
    own_job_id: str
    ledger: Ledger  #: what a later run may take over stays
    is_locked: bool  #: by Snakemake
    #: whether no other run is alive in this workdir, and none begins meanwhile
    alone: Callable[[], AbstractContextManager[bool]]
    armed: bool = False
    #: whose age says when the last look at all blobs was; None: nobody keeps that
    looked_file: Path | None = None
    further_job_ids: set[str] = field(default_factory=set)  #: of this run, where it has several pools

    def __call__(self) -> None:
        """Do it. What cannot be done is told, and never the failure of a run."""
        if not self.armed or self.store.aborted:
            return
        try:
            self.transfers.settle()
            if self.keep_s is None or not self.is_locked or self._has_just_looked(self.keep_s):
                return
            if self.store.is_younger(self.keep_s):
                self._looked()
                return
            with self.alone() as is_alone:
                if is_alone:
                    self._sweep(self.keep_s)
                else:
                    self.say("No blobs are removed: another run may be alive in this folder.")
        except Exception as error:  # noqa: BLE001 (whatever it was: the run has done what it was to do)
            why = str(error) if isinstance(error, AzureBatchError) else repr(error)
            self.say(f"Warning: blobs that nothing needs any more were not all removed: {why}")

    def _sweep(self, keep_s: float) -> None:
        if alive := active_jobs(self.batch, self.workdir_id) - {self.own_job_id} - self.further_job_ids:
            self.say(f"No blobs are removed: {', '.join(sorted(alive))} of this working directory may still run.")
            return
        adoptable = {entry.task_id for entry in self.ledger.open_tasks()}
        swept = sweep(self.store, self.index, keep_s, adoptable=adoptable)
        if told := str(swept):
            self.say(told)
        if swept.in_time and not swept.refused and not self.store.aborted:
            self._looked()

    def _looked(self) -> None:
        if self.looked_file is not None:
            self.looked_file.touch()

    def _has_just_looked(self, keep_s: float) -> bool:
        """A look lists every blob: not worth it after each of many runs, where blobs stay for days."""
        if self.looked_file is None or not self.looked_file.exists():
            return False
        return 0 <= time.time() - self.looked_file.stat().st_mtime < keep_s / LOOKS_PER_RETENTION


def active_jobs(batch: BatchClient, workdir_id: str) -> set[str]:
    """Ids of the Batch jobs of a workdir that have not ended. Raises ServiceError."""
    with service("looking for active Batch jobs of this working directory"):
        listed = list(batch.list_jobs(filter="state ne 'completed'", select=["id", "metadata"]))
    wanted = (WORKDIR_ID, workdir_id)
    return {str(job.id) for job in listed if wanted in [(item.name, item.value) for item in job.metadata or []]}
