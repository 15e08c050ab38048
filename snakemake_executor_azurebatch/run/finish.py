"""What happens to a completed task: its record is judged, its outputs or its logs come back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake_executor_azurebatch.errors import NotEnsured, NotFound, ServiceError, StagingError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import CommitRecord, ProtocolError, decode, record_blob
from snakemake_executor_azurebatch.run.access import TaskAccess
from snakemake_executor_azurebatch.run.again import Try
from snakemake_executor_azurebatch.run.explain import Evidence, explain, tail
from snakemake_executor_azurebatch.run.judge import Cause, Failure, Known, Sighting, is_done, judge
from snakemake_executor_azurebatch.run.moved import inputs_of, moves_by_batch
from snakemake_executor_azurebatch.run.patience import OutOfPatience, Patience
from snakemake_executor_azurebatch.run.prepare import destination
from snakemake_executor_azurebatch.run.records import Ended
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.left import LEFT, read_left
from snakemake_executor_azurebatch.staging.outputs import bring_back, bring_back_logs, learn_outputs
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import forget_lost

MAX_RECORD_BYTES = 64 << 20
MAX_TAIL_BYTES = 4 << 20

#: Azure Batch itself does not start a task whose files it cannot bring.
_STAGING_IN = (Cause.STAGE_IN, Cause.SETUP, Cause.NOT_STARTED)


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that has ended, and what came back of it. ``took_s``: seconds that this took."""

    request: JobRequest
    sighting: Sighting
    record: CommitRecord | None
    failure: Failure | None
    evidence: Evidence
    took_s: float


@dataclass(frozen=True, slots=True)
class Finisher:
    """Finishes the tasks of one run. Usable from any thread."""

    store: BlobStore
    index: Index
    start_folder: Path
    logs_dir: Path  #: saved streams: ``<logs_dir>/<task id>/stderr.txt``
    placed: Callable[[str], None]  #: called with the job's key when its outputs stand in their places
    ended: Callable[[Ended], None]  #: called with what the task used
    patience: Patience  #: with blob storage
    pool: Executor  #: downloads

    def records(self, requests: Iterable[JobRequest]) -> dict[str, CommitRecord]:
        """The commit records of completed tasks, by key, as far as they can be had quickly."""
        keys = {
            record_blob(destination(request.key, self.store.prefix)): request.key
            for request in requests
            if not moves_by_batch(request)
        }
        found: dict[str, CommitRecord] = {}
        for blob, data in self.store.read_at_once(keys).items():
            with contextlib.suppress(ProtocolError):  # read once more, it is told of
                found[keys[blob]] = CommitRecord.from_json(decode(data))
        return found

    def bring_back(
        self,
        request: JobRequest,
        sighting: Sighting,
        record: CommitRecord | None = None,
        *,
        access: TaskAccess | None = None,
    ) -> Finished:
        """Judge the task and bring back what it left. ``record``: where it is known; ``access``: what it was given."""
        began_s, evidence = time.monotonic(), Evidence()
        try:
            record = record or self.patience(lambda: self._record(request))
            if record is not None and is_done(record):
                self.patience(lambda: self._outputs_back(request, record))
            if record is not None:
                evidence = self.patience(lambda: self._logs_back(request, record))
            said = _end_of(self.logs_dir / request.key / "stderr.txt") if evidence.saved else ""
            failure = judge(sighting, record, _known(request, sighting, access, said))
            if failure is not None and failure.cause in _STAGING_IN and "BlobNotFound" in failure.detail:
                failure = self._without_lost(request, failure)
        except NotEnsured as error:
            failure = Failure(Cause.NOT_ENSURED, str(error), None, sighting.node_id)
        except OutOfPatience as out:
            failure = replace(out.failure, node_id=sighting.node_id)
        except (StagingError, ServiceError, ProtocolError, OSError) as error:
            failure = Failure(Cause.BRING_BACK, str(error), None, sighting.node_id)
        return Finished(request, sighting, record, failure, evidence, time.monotonic() - began_s)

    def end(self, finished: Finished, tries: Sequence[Try] = ()) -> str | None:
        """Keep what the task used, for good: there is no further try. None: all is well; else what to tell the user."""
        request, record, failure = finished.request, finished.record, finished.failure
        self.ended(Ended(request, finished.sighting, record, failure, finished.took_s, tries))
        return explain(request.key, failure, finished.evidence, tries) if failure else None

    def forget(self, request: JobRequest) -> None:
        """Remove what says how a task went, before another one of the same id is made. Raises ServiceError."""
        there = destination(request.key, self.store.prefix)
        blob = f"{there}/{LEFT}/report" if moves_by_batch(request) else record_blob(there)
        self.patience(lambda: self.store.remove(blob))

    def _outputs_back(self, request: JobRequest, record: CommitRecord) -> None:
        newest_ns = max((_mtime_ns(needed.local) for needed in request.inputs), default=0)
        places = bring_back(
            self.store, record, self.start_folder, wanted=request.outputs, newest_input_ns=newest_ns, pool=self.pool
        )
        self.placed(request.key)  # may write-protect: what is learned are the files as they stay
        learn_outputs(self.index, record, self.start_folder, places)

    def _without_lost(self, request: JobRequest, failure: Failure) -> Failure:
        """Blobs that somebody has deleted must not be relied upon again."""
        try:
            wanted = inputs_of(request).files
        except StagingError:  # changed since: it goes up again in any case
            wanted = list(request.inputs)
        lost = forget_lost(self.store, self.index, wanted)
        said = f"{failure.detail}\nNo longer in blob storage, the next try uploads: {', '.join(lost)}."
        return replace(failure, detail=said) if lost else failure

    def _record(self, request: JobRequest) -> CommitRecord | None:
        there = destination(request.key, self.store.prefix)
        if moves_by_batch(request):
            return read_left(self.store, there, request.outputs, request.logs)
        with contextlib.suppress(NotFound):
            data = self.store.read_bytes(record_blob(there), MAX_RECORD_BYTES)
            return CommitRecord.from_json(decode(data))
        return None

    def _logs_back(self, request: JobRequest, record: CommitRecord) -> Evidence:
        """The rule's own ``log:`` files in any case; the task's streams where it failed."""
        if not record.logs and not record.streams:
            return Evidence(peak_memory_bytes=record.peak_memory_bytes, memory_asked=_memory_asked(request))
        saved_in = self.logs_dir / request.key
        back = bring_back_logs(
            self.store, record, self.start_folder, wanted=request.logs, streams_folder=saved_in, pool=self.pool
        )
        return Evidence(
            saved=[_shown(path) for path in back.streams],
            logs=[_shown(path) for path in back.logs],
            stderr_tail=_tail_of(saved_in / "stderr.txt") if back.streams else [],
            problems=back.problems,
            peak_memory_bytes=record.peak_memory_bytes,
            memory_asked=_memory_asked(request),
        )


def is_at_hand(record: CommitRecord) -> bool:
    """Whether nothing is to be fetched any more: the record of a task that went well has all that it left."""
    return is_done(record) and not record.logs and all(stored.content is not None for stored in record.outputs)


def _known(request: JobRequest, sighting: Sighting, access: TaskAccess | None, stderr: str) -> Known:
    if access is None:
        return Known(request.runtime_s, stderr=stderr)
    return Known(request.runtime_s, access.had_ended(sighting), access.has_run_out(sighting), stderr)


def _shown(path: Path) -> Path:
    """Relative to where the user is, if it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _tail_of(path: Path) -> list[str]:
    return tail(_end_of(path))


def _end_of(path: Path) -> str:
    try:
        return path.read_bytes()[-MAX_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return ""


def _memory_asked(request: JobRequest) -> str:
    asked = request.resources.get("mem_mb")
    return f"{asked} MB" if asked is not None else ""


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
