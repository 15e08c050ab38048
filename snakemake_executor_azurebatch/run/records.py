"""What every task used, kept for later: one line of JSON per task that has ended, in ``tasks.jsonl``.

    version              1
    run, batch_job, pool, image
    task                 id of the task, and of the job within the run
    rule                 name of the rule, or of the group
    members              for each job: {"rule", "wildcards": {name: value}}; one, but for groups
    attempt              1, or more where Snakemake has tried again
    lane, staging        how it ran (shell, snakemake), and who moved its files (stager, batch)
    threads, resources   as requested; resources that are no number or text are left out
    node                 id of the node, or null
    outcome              succeeded, failed; then ``cause`` (null, or a name of judge.Cause) and ``exit_code``
    tries                of infrastructure that failed before, where it did: for each {"cause", "detail", "node",
                         "exit_code", "ended_at"}
    requeues             how often Azure Batch has started it anew since its node was lost or taken away, where it did
    submitted_at, started_at, ended_at, recorded_at      ISO 8601, UTC; started and ended: of the task, by the service
    timings_s            seconds per phase: setup, stage_in, command, stage_out (on the node), bring_back (here)
    peak_memory_bytes    of the largest process of the command
    peak_disk_bytes      what the task's folder took when the command had ended
    cpu_s                user and system time of the command
    cache_hits, cache_bytes, downloaded_bytes      inputs that the node had already, and those that it had not
    uploaded_bytes       outputs, logs and streams, from the node
    returned_bytes       outputs and logs that were brought here

Values that nobody knows (the node died, say) are null. Lines are only ever appended, each by a single write, so a
crash can cut off the last one at most; a reader skips what is no JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import CommitRecord
from snakemake_executor_azurebatch.run.again import Try
from snakemake_executor_azurebatch.run.judge import Failure, Sighting

VERSION = 1
FILE = "tasks.jsonl"
_as_text = json.JSONEncoder(separators=(",", ":")).encode
PHASES = ("setup", "stage_in", "command", "stage_out", "bring_back")


@dataclass(frozen=True)
class Common:
    """What all tasks of a run share."""

    run: str
    batch_job: str
    pool: str
    image: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended, as it was seen and judged. ``bring_back_s``: what moving its files here took."""

    request: JobRequest
    sighting: Sighting
    record: CommitRecord | None
    failure: Failure | None
    bring_back_s: float = 0.0
    tries: Sequence[Try] = ()  #: that infrastructure has brought to nothing, before this one


@dataclass(slots=True)
class Totals:
    """Sums over the tasks of a run."""

    succeeded: int = 0  #: jobs, as they were reported
    failed: int = 0
    task_s: float = 0.0
    requeues: int = 0  #: tasks that Azure Batch has started again
    downloaded_bytes: int = 0
    cache_bytes: int = 0
    cache_hits: int = 0
    returned_bytes: int = 0
    peaks_bytes: dict[str, int] = field(default_factory=dict)  #: the most memory that a task of each rule took

    @property
    def jobs(self) -> int:
        """All that were reported."""
        return self.succeeded + self.failed

    def add(self, ended: Ended) -> None:
        """Count one task."""
        sighting = ended.sighting
        self.requeues += sighting.requeues
        if sighting.started is not None and sighting.ended is not None:
            self.task_s += max(0.0, (sighting.ended - sighting.started).total_seconds())
        if ended.record is None:
            return
        self.downloaded_bytes += ended.record.downloaded_bytes
        self.cache_bytes += ended.record.cache_bytes
        self.cache_hits += ended.record.cache_hits
        self.returned_bytes += _returned_bytes(ended)
        peak = ended.record.peak_memory_bytes or 0
        rule = ended.request.name
        self.peaks_bytes[rule] = max(peak, self.peaks_bytes.get(rule, 0))


class Records:
    """Keeps what the tasks of one run used. Usable from any thread; never the failure of a job."""

    def __init__(self, path: Path, common: Common, say: Callable[[str], None]) -> None:
        self.path = path
        self.totals = Totals()
        self._common = common
        self._say = say
        self._lock = threading.Lock()
        self._submitted: dict[str, datetime] = {}
        self._told = False
        self._thread = threading.local()
        self._stream: FileIO | None = None

    def submitted(self, keys: list[str]) -> None:
        """Note the time: these jobs were handed over now."""
        now = datetime.now(UTC)
        with self._lock:
            self._submitted.update(dict.fromkeys(keys, now))

    def ended(self, ended: Ended) -> dict[str, Any]:
        """Keep one task; what is kept."""
        with self._lock:
            row = line_of(self._common, ended, self._submitted.pop(ended.request.key, None))
            self.totals.add(ended)
            line = _as_text(row)
            if (gathered := getattr(self._thread, "gathered", None)) is not None:
                gathered.append(line)
            else:
                self._append(line)
        return row

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What ends in this thread within is written at the end, in one go."""
        gathered: list[str] = []
        self._thread.gathered = gathered
        try:
            yield
        finally:
            self._thread.gathered = None
            with self._lock:
                if gathered:
                    self._append("\n".join(gathered))

    def reported(self, *, is_done: bool) -> None:
        """Count one job, whether it ever had a task or not."""
        with self._lock:
            if is_done:
                self.totals.succeeded += 1
            else:
                self.totals.failed += 1

    def close(self) -> None:
        """Close the file. It is opened again where something more is to be kept."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _append(self, line: str) -> None:
        try:
            if self._stream is None:
                self._stream = _opened(self.path)
            data = line.encode() + b"\n"
            if self._stream.write(data) != len(data):
                self._close()  # when it is opened again, this line is seen to be cut off
        except OSError as error:
            self._close()
            if not self._told:
                self._told = True
                self._say(f"Warning: what tasks use cannot be kept in {self.path}: {error.strerror or error}")


def _opened(path: Path) -> FileIO:
    """The file at its end, after a line break where a crash has cut off the last line. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+b", buffering=0)
    if stream.seek(0, os.SEEK_END) and os.pread(stream.fileno(), 1, stream.tell() - 1) != b"\n":
        stream.write(b"\n")
    return stream


def line_of(common: Common, ended: Ended, submitted: datetime | None) -> dict[str, Any]:
    """The line about one task; see the top of this file."""
    request, sighting, record, failure = ended.request, ended.sighting, ended.record, ended.failure
    took_s = {**(record.timings_s if record else {}), "bring_back": round(ended.bring_back_s, 3)}
    timings = {phase: took_s[phase] for phase in (*PHASES, *sorted(took_s.keys() - set(PHASES))) if phase in took_s}
    return {
        "version": VERSION,
        **vars(common),
        "task": request.key,
        "rule": request.name,
        "members": [dict(member) for member in request.members],
        "attempt": request.attempt,
        "threads": request.threads,
        "resources": dict(request.resources),
        **({"image": way.image, "lane": way.lane, "staging": way.staging} if (way := request.way) else {}),
        "node": sighting.node_id,
        "outcome": "failed" if failure else "succeeded",
        "cause": failure.cause.name if failure else None,
        "exit_code": record.exit_code if record else sighting.exit_code,
        "submitted_at": _iso(submitted),
        "started_at": _iso(sighting.started),
        "ended_at": _iso(sighting.ended),
        "recorded_at": _iso(datetime.now(UTC)),
        "timings_s": timings,
        **({"tries": [_try(one) for one in ended.tries]} if ended.tries else {}),
        **({"requeues": sighting.requeues} if sighting.requeues else {}),
        **_used(record),
        "returned_bytes": _returned_bytes(ended),
    }


_USED = (
    *("peak_memory_bytes", "peak_disk_bytes", "cpu_s"),
    *("cache_hits", "cache_bytes", "downloaded_bytes", "uploaded_bytes"),
)


def _used(record: CommitRecord | None) -> dict[str, float | None]:
    return {name: getattr(record, name) if record else None for name in _USED}


def _try(one: Try) -> dict[str, Any]:
    return {
        "cause": one.failure.cause.name,
        "detail": one.failure.detail,
        "node": one.failure.node_id,
        "exit_code": one.failure.exit_code,
        "ended_at": _iso(one.ended),
    }


def _returned_bytes(ended: Ended) -> int:
    record = ended.record
    if record is None:
        return 0
    returned = [*record.logs, *(record.streams if ended.failure else record.outputs)]
    return sum(stored.size_bytes for stored in returned if not stored.container_url)


def shown(row: Mapping[str, Any]) -> str:
    """A line of the file in words, as short as one can read it."""
    names = ", ".join(f"{k}={v}" for member in row["members"][:1] for k, v in member["wildcards"].items())
    timings = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in row["timings_s"].items())
    used = f", {shown_bytes(row['peak_memory_bytes'])} of memory" if row["peak_memory_bytes"] else ""
    cpu = f", {row['cpu_s']:.1f} s of CPU" if row["cpu_s"] is not None else ""
    node = f" on {row['node']}" if row["node"] else ""
    rule = f"{row['rule']} ({names})" if names else row["rule"]
    return f"Task {row['task']}: {rule} {row['outcome']}{node}: {timings}{cpu}{used}."


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the file, oldest first, without what a crash has cut off. Raises OSError."""
    with path.open("rb") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("version") == VERSION:
                yield row


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat(timespec="milliseconds") if time else None
