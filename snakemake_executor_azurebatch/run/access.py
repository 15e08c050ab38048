"""Which access to blob storage each task was given, and when that ends.

Tasks find the access of their run in the environment of the Batch job. Access that cannot be extended is renewed
instead: tasks that are submitted later get the new one in their own environment, which goes before the job's
(source: Azure Batch documentation, "commonEnvironmentSettings").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.staging.grants import Grant, PolicyGrant
from snakemake_executor_azurebatch.staging.sas import Access
from snakemake_executor_azurebatch.tasks import Surroundings

#: Clocks differ, and a task needs its access from its start to the end of its stage-in.
MARGIN = timedelta(minutes=10)


def environment(access: Access) -> Mapping[str, str]:
    """The access as a task's stager wants it."""
    return {protocol.ENV_READ_URL: access.read_url, protocol.ENV_WRITE_URL: access.write_url}


class TaskAccess:
    """The access of one run's tasks. Usable from any thread."""

    def __init__(self, grant: Grant, stager_url: Callable[[], str], *, is_in_job: bool = True) -> None:
        self._grant = grant
        self._make_stager_url = stager_url
        self._now = grant.access
        #: what the environment of the Batch job holds, if it is of this run
        self._first = grant.access if is_in_job else None
        self.stager_url = stager_url()
        self._lock = threading.Lock()
        self._ends: dict[str, datetime] = {}

    def extend(self) -> None:
        """Let it last for its whole lifetime again; later tasks get what is new. Raises ServiceError."""
        self._grant.extend()
        if self._grant.access is not self._now:
            stager_url = self._make_stager_url()
            with self._lock:
                self._now, self.stager_url = self._grant.access, stager_url

    def extend_for(self, lifetime_s: float) -> None:
        """Let what tasks were given last so long, where its end can be moved at all. Raises ServiceError."""
        if isinstance(self._grant, PolicyGrant):
            replace(self._grant, lifetime_s=lifetime_s).extend()

    def urls(self) -> tuple[str, str]:
        """To read and to write the blob container, with a SAS, as tasks get them now."""
        with self._lock:
            return self._now.read_url, self._now.write_url

    def given(self, key: str, around: Surroundings) -> Surroundings:
        """What a task that is submitted now is given."""
        with self._lock:
            if not self._grant.is_extendable:
                self._ends[key] = self._now.expires
            if self._now is self._first:
                return around
            return replace(around, stager_url=self.stager_url, access=environment(self._now))

    def had_ended(self, sighting: Sighting) -> bool:
        """Whether a task came to nothing because its access had ended when it started."""
        ends, started = self._end_for(sighting), sighting.started or sighting.ended
        return ends is not None and started is not None and started + MARGIN >= ends

    def has_run_out(self, sighting: Sighting) -> bool:
        """Whether the access of a task that came to nothing has ended while it ran."""
        ends = self._end_for(sighting)
        return ends is not None and sighting.ended is not None and sighting.ended >= ends

    def _end_for(self, sighting: Sighting) -> datetime | None:
        """The end of its access, if it has one and may be the reason for the task's end."""
        if sighting.exit_code == 0 or sighting.failure_code == "TaskEnded":
            return None
        with self._lock:
            return self._ends.get(sighting.task_id)
