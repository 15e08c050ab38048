"""What a task left whose files Azure Batch has moved: the script's report and the blobs, as a commit record.

    <destination>/batch/left/report     see ``wrapper.sh``
    <destination>/batch/left/log-N      logs, after any end of the command
    <destination>/batch/out/N           outputs, after a good end; N.tar is a folder; N.list, N.1, ... without tar
    <destination>/streams/...           stdout.txt and stderr.txt, after a bad end

N is the position of an output or log in the rule.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from snakemake_executor_azurebatch.errors import NotFound, StagingError
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, CommitRecord, Product, StoredFile
from snakemake_executor_azurebatch.staging import tarball
from snakemake_executor_azurebatch.staging.store import BlobStore, calling

MAX_REPORT_BYTES = 16 << 20

#: Below the destination of a task; Azure Batch is told to put things there.
LEFT, OUT, STREAMS = "batch/left", "batch/out", "streams"


@dataclass(frozen=True)
class Left:
    """A blob: its size, and its MD5 where the service knows one."""

    blob: str
    size_bytes: int
    md5: str = ""


@dataclass
class Report:
    """What the script says."""

    exit_code: int | None = None
    is_stored: bool = False
    error: tuple[str, str] | None = None  #: class and message
    missing: list[int] = field(default_factory=list)
    wrong: dict[int, str] = field(default_factory=dict)
    executable: set[int] = field(default_factory=set)
    md5: dict[str, str] = field(default_factory=dict)  #: name below ``out`` -> MD5
    wall_s: float = 0.0
    is_stopped: bool = False  #: the task was told to stop


def read_report(text: str) -> Report:
    """Read the script's report; what is not understood is passed over: a killed task may leave half a line."""
    report = Report()
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        with contextlib.suppress(ValueError):
            _note(report, word, rest)
    return report


def _note(report: Report, word: str, rest: str) -> None:
    first, _, more = rest.partition(" ")
    if word == "exit":
        report.exit_code = int(first)
    elif word == "seconds":
        report.wall_s = sum(map(float, rest.split()))
    elif word == "missing":
        report.missing.append(int(first))
    elif word == "wrong":
        report.wrong[int(first)] = more
    elif word == "executable":
        report.executable.add(int(first))
    elif word == "md5":
        report.md5[first] = more
    elif word == "error" and report.error is None:
        report.is_stopped = first == protocol.REASON_STOPPED
        report.error = (protocol.ERROR_COMMAND if report.is_stopped else first, more)
    report.is_stored |= word == "stored"


def read_left(
    store: BlobStore, destination: str, outputs: Sequence[Product], logs: Sequence[Product]
) -> CommitRecord | None:
    """The task's record; None where the script left no report. Raises ServiceError, StagingError."""
    try:
        text = store.read_bytes(f"{destination}/{LEFT}/report", MAX_REPORT_BYTES).decode(errors="replace")
    except NotFound:
        return None
    left = {one.blob.removeprefix(f"{destination}/"): one for one in _listed(store, destination)}
    report = read_report(text)
    folders = _Folders(store, destination)
    stored = list(_outputs(left, outputs, report, folders)) if report.is_stored else []
    return record_of(destination.rpartition("/")[2], report, outputs, stored, _others(left, logs))


def record_of(
    task_id: str,
    report: Report,
    outputs: Sequence[Product],
    stored: Sequence[StoredFile],
    others: tuple[list[StoredFile], list[StoredFile]],
) -> CommitRecord:
    """The report and what is in blob storage as a commit record (pure)."""
    logs, streams = others
    there = {one.path for one in stored}
    absent = [one.path for one in outputs if not one.optional and one.path not in there] if report.is_stored else []
    missing = [outputs[number].path for number in (*report.missing, *report.wrong)]
    phase, error_class, message = _judged(report, missing, absent)
    if error_class == protocol.ERROR_MISSING_OUTPUT:
        wrong = (f"{outputs[number].path} is {why}" for number, why in report.wrong.items())
        message = "; ".join([*(f"{outputs[number].path} is missing" for number in report.missing), *wrong])
    return CommitRecord(
        task_id=task_id,
        phase=phase,
        exit_code=report.exit_code,
        outputs=list(stored) if error_class is None else [],
        logs=logs,
        streams=streams,
        missing=missing,
        timings_s={"command": report.wall_s} if report.exit_code is not None else {},
        uploaded_bytes=sum(one.size_bytes for one in (*stored, *logs, *streams)),
        error_class=error_class,
        error_message=message or None,
        reason=protocol.REASON_STOPPED if report.is_stopped else "",
    )


def _judged(report: Report, missing: Sequence[str], absent: Sequence[str]) -> tuple[str, str | None, str]:
    """Phase, class of the failure, message."""
    if report.error is not None:
        error_class, message = report.error
        return ("command" if report.exit_code is not None else error_class), error_class, message
    if report.exit_code:
        return "command", protocol.ERROR_COMMAND, f"the command exited with {report.exit_code}"
    if missing:
        return "stage_out", protocol.ERROR_MISSING_OUTPUT, ""
    if absent or not report.is_stored:
        named = f": {', '.join(absent)}" if absent else ""
        return "stage_out", protocol.ERROR_STAGE_OUT, f"Azure Batch has not stored all outputs{named}"
    return "done", None, ""


def _listed(store: BlobStore, destination: str) -> Iterator[Left]:
    with calling(f"listing what {destination} left"):
        for blob in store.container.list_blobs(f"{destination}/"):
            md5 = bytes(blob.content_settings.content_md5 or b"").hex()
            yield Left(str(blob.name), blob.size, md5)


def _outputs(
    left: Mapping[str, Left], outputs: Sequence[Product], report: Report, folders: _Folders
) -> Iterator[StoredFile]:
    for number, product in enumerate(outputs):
        if product.kind != DIRECTORY:
            if (one := left.get(f"{OUT}/{number}")) is not None:
                mode = 0o755 if number in report.executable else 0o644
                yield _stored(product, one, report.md5.get(str(number), ""), mode)
        elif (one := left.get(f"{OUT}/{number}.tar")) is not None:
            yield _stored(product, one, report.md5.get(f"{number}.tar", ""), 0o755)
        elif f"{OUT}/{number}.list" in left:
            yield _stored(product, folders.pack(number), "", 0o755)


def _stored(product: Product, one: Left, md5: str, mode: int) -> StoredFile:
    if md5 and one.md5 and md5 != one.md5:
        raise StagingError(f"{product.path}: Azure Batch has stored other bytes than the command left ({one.blob})")
    return StoredFile(product.path, one.blob, one.size_bytes, md5 or one.md5, mode, product.kind)


def _others(left: Mapping[str, Left], logs: Sequence[Product]) -> tuple[list[StoredFile], list[StoredFile]]:
    """Logs and streams."""
    found = [(product, left.get(f"{LEFT}/log-{number}")) for number, product in enumerate(logs)]
    streams = [(name.removeprefix(f"{STREAMS}/"), one) for name, one in left.items() if name.startswith(f"{STREAMS}/")]
    return (
        [_stored(product, one, "", 0o644) for product, one in found if one is not None],
        [StoredFile(name, one.blob, one.size_bytes, one.md5) for name, one in streams],
    )


class _Folders:
    """Folders that came as single files, because the image has no tar: packed here, as every other folder is."""

    def __init__(self, store: BlobStore, destination: str) -> None:
        self._store = store
        self._destination = destination

    def pack(self, number: int) -> Left:
        """Put the archive beside the files. Raises StagingError, ServiceError, OSError."""
        name = f"{self._destination}/{OUT}/{number}"
        listing = self._store.read_bytes(f"{name}.list", MAX_REPORT_BYTES).decode("utf-8", "surrogateescape")
        with tempfile.TemporaryDirectory(prefix="smk-folder-") as temporary:
            folder, archive = Path(temporary, "folder"), Path(temporary, "archive.tar")
            folder.mkdir()
            self._fill(folder, name, listing.splitlines())
            with archive.open("wb") as stream:
                tarball.pack(folder, stream)
            found = self._store.upload_file(archive, f"{name}.packed.tar", overwrite=True)
        return Left(f"{name}.packed.tar", found.size_bytes, found.md5)

    def _fill(self, folder: Path, name: str, lines: Sequence[str]) -> None:
        count, rest = 0, iter(lines)
        links: list[tuple[Path, str]] = []
        for line in rest:
            kind, _, inner = line.partition(" ")
            target = _inside(folder, inner)
            if kind == "directory":
                target.mkdir(parents=True, exist_ok=True)
            elif kind == "link":
                links.append((target, next(rest, "")))
            elif kind in ("file", "program"):
                count += 1
                self._bring(f"{name}.{count}", target, 0o755 if kind == "program" else 0o644)
        for target, leads_to in links:  # last, so that nothing is written through one
            target.symlink_to(leads_to)

    def _bring(self, blob: str, target: Path, mode: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = self._store.describe(blob)
        if found is None:
            raise StagingError(f"Azure Batch has not stored all files of a folder: {target.name} ({blob})")
        self._store.fetch(StoredFile(target.name, blob, found.size_bytes, found.md5, mode), target)


def _inside(folder: Path, inner: str) -> Path:
    parts = PurePosixPath(inner).parts
    if not parts or ".." in parts or inner.startswith("/"):
        raise StagingError(f"{inner!r} leads out of its folder")
    return folder.joinpath(*parts)
