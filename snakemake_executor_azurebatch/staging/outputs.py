"""What a task left, brought back: all of it or nothing stands under its final name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import ServiceError, StagingError
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, CommitRecord, Product, StoredFile
from snakemake_executor_azurebatch.staging import place
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.stamps import TIMESTAMP_FILE, Stamp
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.unpacking import by_request, fetch_packed

OWN_WORKERS = 4


@dataclass(frozen=True)
class ReturnedLogs:
    """Logs and streams that are here now, and in words what could not be brought."""

    logs: list[Path] = field(default_factory=list)
    streams: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def bring_back(
    store: BlobStore,
    record: CommitRecord,
    workdir: Path,
    *,
    wanted: Sequence[Product],
    newest_input_ns: int = 0,
    pool: Executor | None = None,
) -> list[Path]:
    """Bring every wanted output that the record names to its place below ``workdir``; returns the places.

    Everything is fetched and verified under temporary names first; what lies in a folder that is brought comes with
    it. Then all get one modification time: now, or ``newest_input_ns`` (nanoseconds since 1970) where an input is
    from the future. Old outputs are replaced, write-protected ones and whole folders too. Raises StagingError naming
    every output that is missing from the record or could not be brought, or ServiceError.
    """
    chosen = _chosen(record, wanted)
    places = [workdir / stored.path for stored in chosen]
    folders = {target for stored, target in zip(chosen, places, strict=True) if stored.kind == DIRECTORY}
    with _placing(workdir):
        moves = [
            (stored, place.beside(target), target)
            for stored, target in zip(chosen, places, strict=True)
            if not folders or folders.isdisjoint(target.parents)  # the parents of a path are slow to be listed
        ]
    placed = 0
    try:
        with _pool(pool) as workers:
            alone = [(stored, temporary) for stored, temporary, _ in moves if stored.offset is None]
            packed = by_request((stored, temporary) for stored, temporary, _ in moves if stored.offset is not None)
            # Most often so: the work of handing it over would be more.
            if not packed and (len(alone) == 1 or all(stored.content is not None for stored, _ in alone)):
                for one in alone:
                    store.fetch(*one)
            else:
                begun = [workers.submit(fetch_packed, store.read_span, some) for some in packed]
                _all_or_first_error([*begun, *(workers.submit(store.fetch, *one) for one in alone)])
        with _placing(workdir):
            _give_one_time([temporary for _, temporary, _ in moves], newest_input_ns)
            for _, temporary, target in moves:
                place.put_in_place(temporary, target)
                placed += 1
    finally:
        for _, temporary, _ in moves[placed:]:
            place.discard(temporary)
    return places


def bring_back_logs(
    store: BlobStore,
    record: CommitRecord,
    workdir: Path,
    *,
    wanted: Sequence[Product],
    streams_folder: Path | None = None,
    pool: Executor | None = None,
) -> ReturnedLogs:
    """Bring the wanted logs to their places, and stdout and stderr of the task into ``streams_folder``.

    For failed jobs too, and therefore tolerant: what cannot be brought is told in ``problems``, not raised. A log in
    a folder that ``bring_back`` has placed came with it, and is left as it is: a new file would make it another folder.
    """
    names = {product.path for product in wanted}
    folders = {workdir / stored.path for stored in record.outputs if stored.kind == DIRECTORY}
    found = [(stored, workdir / stored.path) for stored in record.logs if stored.path in names]
    came = {target for _, target in found if not folders.isdisjoint(target.parents) and target.exists()}
    logs = [move for move in found if move[1] not in came]
    streams = [(stored, streams_folder / Path(stored.path).name) for stored in record.streams if streams_folder]
    returned = ReturnedLogs(sorted(came))
    with _pool(pool) as workers:
        begun = [(workers.submit(store.download, *move), move[1], returned.logs) for move in logs]
        begun += [(workers.submit(store.download, *move), move[1], returned.streams) for move in streams]
        for future, target, done in begun:
            try:
                future.result()
                done.append(target)
            except (StagingError, ServiceError) as error:
                returned.problems.append(str(error))
    return returned


def learn_outputs(index: Index, record: CommitRecord, workdir: Path, placed: Iterable[Path]) -> None:
    """Remember which blobs the files at ``placed`` are, so that the next job reads them by reference.

    Call it last, after write-protecting or touching: the stamps are those of now.
    """
    stored_at = {workdir / stored.path: stored for stored in (*record.outputs, *record.logs)}
    learned: list[tuple[str, Stamp, BlobRef]] = []
    for target in placed:
        stored = stored_at.get(target)
        if stored is None:
            continue
        try:
            status = target.stat()
            stamp = Stamp.from_status(status) if stat.S_ISREG(status.st_mode) else Stamp.of(target)
        except OSError:
            index.forget(str(target))  # removed meanwhile (temporary files): nothing to remember
            continue
        place_of = (stored.offset, stored.pack_bytes)
        ref = BlobRef(stored.blob, stored.size_bytes, stored.md5, status.st_mode & 0o777, stored.kind, *place_of)
        learned.append((str(target), stamp, ref))
    index.learn_all(learned)


def _chosen(record: CommitRecord, wanted: Sequence[Product]) -> list[StoredFile]:
    """The stored files for ``wanted``, each once. What the record holds beyond them is not touched."""
    stored_as = {stored.path: stored for stored in record.outputs}
    products = {product.path: product for product in wanted}
    missing = [path for path, product in products.items() if not product.optional and path not in stored_as]
    if missing:
        raise StagingError(f"the task ended well but did not store these outputs: {', '.join(missing)}")
    chosen = [stored_as[path] for path in products if path in stored_as]
    for stored in chosen:
        if stored.kind != products[stored.path].kind:
            left, said = ("folder", "file") if stored.kind == DIRECTORY else ("file", "folder")
            raise StagingError(f"output {stored.path} is a {left}, but the rule declares a {said}")
    return chosen


def _give_one_time(temporaries: list[Path], at_least_ns: int) -> None:
    """One modification time for all, by the file system's own clock (which may differ from this machine's)."""
    newest_ns = at_least_ns
    statuses = [temporary.lstat() for temporary in temporaries]
    if len(statuses) == 1 and stat.S_ISREG(statuses[0].st_mode) and statuses[0].st_mtime_ns >= at_least_ns:
        return  # nearly always: one file, and its time is that of its writing
    for temporary, status in zip(temporaries, statuses, strict=True):
        if stat.S_ISDIR(status.st_mode):
            _write_mark(temporary)
        os.utime(temporary)
        newest_ns = max(newest_ns, temporary.stat().st_mtime_ns)
    for temporary in temporaries:
        place.set_times(temporary, newest_ns)


def _write_mark(folder: Path) -> None:
    """Snakemake takes the age of a directory output from this file."""
    mark = folder / TIMESTAMP_FILE
    if mark.exists():
        return
    mode = folder.stat().st_mode & 0o777
    folder.chmod(mode | 0o700)
    mark.touch()
    folder.chmod(mode)


def _all_or_first_error(futures: list[Future[None]]) -> None:
    """Wait for all, so that nothing is written any more, and raise the first error."""
    try:
        wait(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    for future in futures:
        future.result()


@contextmanager
def _pool(given: Executor | None) -> Iterator[Executor]:
    if given is not None:
        yield given
        return
    with DaemonPool(OWN_WORKERS, thread_name_prefix="smk-download") as own:
        yield own


@contextmanager
def _placing(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if error.filename else workdir / "any"
        reason = place.why_not_written(error, where)
        raise StagingError(f"an output could not be put in its place: {where}: {reason}") from error
