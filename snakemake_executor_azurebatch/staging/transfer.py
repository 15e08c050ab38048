"""Inputs that go up: each content once, however many jobs ask for it at the same time.

    many small files      together, in packs: see ``packer``
    up to LARGE_BYTES     a blob named by its content, which is read twice
    larger                a blob named by the file's stamp, or at random while that may still be deceived; read once

An input that was touched and has the content that the index remembers of its path is read, and not sent again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import astuple, replace
from pathlib import Path

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, FILE, InputFile
from snakemake_executor_azurebatch.staging import digests, needed, place, tarball
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.needed import Changed, Seen
from snakemake_executor_azurebatch.staging.packer import SINGLE, Packer, Sent
from snakemake_executor_azurebatch.staging.plan import input_file
from snakemake_executor_azurebatch.staging.stamps import Stamp
from snakemake_executor_azurebatch.staging.store import BlobStore

#: From here on reading a file once more costs more than sending it twice under two names.
LARGE_BYTES = 64 << 20
LARGE = "large/"
#: How often an input is looked at that changes while it is read.
LOOKS = 3
#: As much is read at the end of a run to remember young inputs.
READ_AGAIN_BYTES = 1 << 30


class Transfers:
    """Uploads inputs with a few threads. Usable from any thread. Close it at the end."""

    def __init__(self, store: BlobStore, index: Index, workers: int = 8) -> None:
        self._store = store
        self._index = index
        self._pool = DaemonPool(workers, thread_name_prefix="smk-upload")
        self._packer = Packer(store, index, self._pool)
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Path, str, Stamp, bool], Future[BlobRef]] = {}
        self._contents: dict[str, threading.Lock] = {}
        self._young: dict[Path, Sent] = {}  #: those too young to be remembered beyond this run

    def close(self) -> None:
        """Stop the threads; uploads that have not begun are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def settle(self) -> None:
        """Remember the inputs that were too young for it when they went up, if they are still the same.

        They are read again, which the next run would do otherwise. Raises StagingError.
        """
        young, self._young = self._young, {}
        budget_bytes = READ_AGAIN_BYTES
        for seen, blob in young.values():
            budget_bytes -= blob.size_bytes
            if budget_bytes >= 0 and _still(seen, blob):
                self._index.learn(str(seen.want.local), seen.stamp, blob)

    def known(self, want: NeededFile) -> BlobRef | None:
        """What the index knows of an input; None for one that is missing, changed or of another kind."""
        try:
            blob = self._index.find(str(want.local), Stamp.of(want.local))
        except OSError:
            return None  # the upload will say what is wrong with it
        return blob if blob is not None and blob.kind == want.kind else None

    def known_whole(self, want: NeededFile) -> BlobRef | None:
        """The same for who cannot read a part of a blob: None also for a file that is in a pack."""
        blob = self.known(want)
        return blob if blob is not None and blob.is_whole else None

    def send_small(self, wanted: Iterable[NeededFile]) -> dict[Path, BlobRef]:
        """Send the small files among what is not known yet, if they are many; returns those that were sent.

        What is wrong with one is left to ``upload_missing`` to say. Raises StagingError, ServiceError.
        """
        sent = self._packer(wanted)
        self._remember(sent)
        return {seen.want.local: blob for seen, blob in sent}

    def upload_missing(self, wanted: Sequence[NeededFile], *, whole: bool = False) -> dict[str, InputFile]:
        """Bring every input into blob storage that is not there yet; returns all of them, by path.

        ``whole``: each as a blob of its own. Raises StagingError naming every input that is missing, unreadable or
        changing, else ServiceError.
        """
        packed = {} if whole else self.send_small(wanted)
        done: dict[str, InputFile] = {}
        futures: dict[str, Future[BlobRef]] = {}
        problems: list[str] = []
        for want in wanted:
            if (blob := packed.get(want.local)) is not None and want.kind == FILE:
                done[want.path] = input_file(want.path, blob)
                continue
            try:
                futures[want.path] = self._begin(want, whole)
            except StagingError as error:
                problems.append(str(error))
        for path, future in futures.items():
            try:
                done[path] = input_file(path, future.result())
            except StagingError as error:
                problems.append(str(error))
        if problems:
            raise StagingError(needed.listed(problems))
        return done

    def _begin(self, want: NeededFile, whole: bool) -> Future[BlobRef]:
        with needed.reading(want):
            seen = Seen.of(want)
        key = (want.local, want.kind, seen.stamp, whole)
        with self._lock:
            if (running := self._under_way.get(key)) is not None:
                return running
            future = self._under_way[key] = self._pool.submit(self._upload, seen, whole)
        # Outside the lock: the callback takes it, and runs at once where the upload is done already.
        future.add_done_callback(lambda _: self._forget(key))
        return future

    def _forget(self, key: tuple[Path, str, Stamp, bool]) -> None:
        with self._lock:
            self._under_way.pop(key, None)

    def _upload(self, seen: Seen, whole: bool) -> BlobRef:
        for _ in range(LOOKS - 1):
            try:
                return self._upload_as_seen(seen, whole)
            except Changed:
                before = seen.stamp
                with needed.reading(seen.want):
                    seen = Seen.of(seen.want)
                if (seen.stamp.inode, seen.stamp.size_bytes) != (before.inode, before.size_bytes):
                    raise  # it is another content for sure
        return self._upload_as_seen(seen, whole)

    def _upload_as_seen(self, seen: Seen, whole: bool) -> BlobRef:
        want = seen.want
        blob = self._index.find(str(want.local), seen.stamp)
        if blob is not None and blob.kind == want.kind and (blob.is_whole or not whole):
            return blob
        try:
            with needed.reading(want):
                if want.kind == DIRECTORY:
                    blob = self._upload_directory(seen)
                else:
                    blob = self._only_touched(seen, want.local, whole) or self._put(seen, want.local, whole)
        except StagingError as error:
            if needed.stamp_or_none(want) in (seen.stamp, None):
                raise
            raise needed.changed(want) from error
        if not seen.stays():
            raise needed.changed(want)
        self._remember([(seen, blob)])
        return blob

    def _remember(self, sent: Iterable[Sent]) -> None:
        """A young file could change once more without a trace in its stamp: it is read again next time."""
        old: list[tuple[str, Stamp, BlobRef]] = []
        for seen, blob in sent:
            if seen.is_settled:
                old.append((str(seen.want.local), seen.stamp, blob))
            else:
                self._young[seen.want.local] = (seen, blob)
        if old:
            self._index.learn_all(old)

    def _only_touched(self, seen: Seen, content: Path, whole: bool) -> BlobRef | None:
        """The blob that this input was before it was touched, where it still has that content (a folder: packed)."""
        local = seen.want.local
        _, before = self._young.get(local) or (None, None)
        if before is None or before.blob not in self._store.stored:
            before = self._index.last(str(local))
        if before is None or (before.kind, before.size_bytes) != (seen.want.kind, content.stat().st_size):
            return None
        if (whole and not before.is_whole) or digests.md5_of_file(content) != before.md5:
            return None
        return replace(before, mode=seen.mode)

    def _upload_directory(self, seen: Seen) -> BlobRef:
        # Without a name: nothing of it stays, whatever ends this process.
        try:
            with tempfile.TemporaryFile() as stream:
                tarball.pack(seen.want.local, stream)
                stream.flush()
                content = Path(f"/proc/self/fd/{stream.fileno()}")
                return self._only_touched(seen, content, whole=True) or self._put(seen, content, whole=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = place.why_not_written(error, Path(tempfile.gettempdir(), "any"))
            raise StagingError(f"{needed.what(seen.want)} cannot be packed: {reason}") from error

    def _put(self, seen: Seen, content: Path, whole: bool) -> BlobRef:
        if content.stat().st_size > LARGE_BYTES:
            return self._put_large(seen, content)
        found = digests.of_file(content)
        if not whole and (packed := self._packer.packed(found.sha256)) is not None:
            return replace(packed, mode=seen.mode)
        blob = self._store.prefix + SINGLE + found.sha256
        with self._alone(blob):
            if blob not in self._store.stored:
                self._store.upload_file(content, blob, found)
                self._store.stored.add(blob)
        return BlobRef(blob, found.size_bytes, found.md5, seen.mode, seen.want.kind)

    def _put_large(self, seen: Seen, content: Path) -> BlobRef:
        """Read it once. Only what could not change unseen has a name that another upload of it finds again."""
        blob = (
            self._store.prefix + LARGE + (_name(seen, self._store.owner) if seen.is_settled else os.urandom(32).hex())
        )
        with self._alone(blob):
            found = self._store.describe(blob) if seen.is_settled else None
            if found is None or not found.md5:
                found = self._store.upload_file(content, blob, overwrite=found is not None, unchanged=seen.stays)
            self._store.stored.add(blob)
        return BlobRef(blob, found.size_bytes, found.md5, seen.mode, seen.want.kind)

    def _alone(self, blob: str) -> threading.Lock:
        """The same content may have several names, and go up once."""
        with self._lock:
            return self._contents.setdefault(blob, threading.Lock())


def _name(seen: Seen, owner: str) -> str:
    """What a file is named by that is not read before: where it is, and its stamp."""
    parts = (owner, os.path.realpath(seen.want.local), seen.want.kind, *astuple(seen.stamp))
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()


def _still(seen: Seen, blob: BlobRef) -> bool:
    if not seen.stamp.settled(time.time_ns()) or seen.want.kind == DIRECTORY:
        return False
    try:
        same = blob.md5 == digests.md5_of_file(seen.want.local)
    except OSError:
        return False
    return same and seen.stays()


def forget_lost(store: BlobStore, index: Index, wanted: Iterable[NeededFile]) -> list[str]:
    """Forget inputs whose blobs are gone, so that the next try uploads them; returns their paths.

    Somebody may have deleted them, or a rule of the storage account. Raises ServiceError.
    """
    is_there: dict[str, bool] = {}  #: many may be in one pack
    lost = []
    for want in wanted:
        blob = index.last(str(want.local))
        if blob is None:
            continue
        if blob.blob not in is_there:
            is_there[blob.blob] = store.describe(blob.blob) is not None
        if not is_there[blob.blob]:
            index.forget(str(want.local))
            lost.append(want.path)
    return lost
