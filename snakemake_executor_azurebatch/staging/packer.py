"""Small inputs on their way up, many in one blob: see ``node.packing`` for what a pack is.

A pack is named by what is in it. A content that this run has stored already, in a pack or as a blob of its own, is
not sent again, nor is a file that was only touched.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field, replace

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.limits import MANY, SMALL_BYTES
from snakemake_executor_azurebatch.node.packing import PACK_BYTES
from snakemake_executor_azurebatch.node.protocol import FILE
from snakemake_executor_azurebatch.staging import digests
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.needed import Seen
from snakemake_executor_azurebatch.staging.store import BlobStore

PREFIX = "packs/"
#: A blob of one input is named by this and its SHA-256.
SINGLE = "inputs/"
#: Packs of one round that are in memory.
IN_FLIGHT = 4


#: A small file as it was before it was read, and which blob it is.
Sent = tuple[Seen, BlobRef]


@dataclass(frozen=True, slots=True)
class Content:
    """A small file that was read. ``ref``: what is known of it before it has a blob."""

    seen: Seen
    data: bytes = field(repr=False)
    sha256: str
    ref: BlobRef


class Packer:
    """Sends small files in packs. Usable from any thread: one round at a time, so that no content is sent twice."""

    def __init__(self, store: BlobStore, index: Index, pool: Executor) -> None:
        self._store = store
        self._index = index
        self._pool = pool
        self._round = threading.Lock()
        self._places: dict[str, BlobRef] = {}  #: contents in packs of this run, by their SHA-256

    def packed(self, sha256: str) -> BlobRef | None:
        """Where a content is that this run has sent in a pack; None also where that pack is gone since."""
        ref = self._places.get(sha256)
        return ref if ref is not None and ref.blob in self._store.stored else None

    def __call__(self, wanted: Iterable[NeededFile]) -> list[Sent]:
        """Send the small files among ``wanted``, where they are many.

        Those that cannot be read, or change meanwhile, are left out. Raises ServiceError, StagingError.
        """
        small = list(_small(wanted))
        if len(small) < MANY:
            return []
        sent: list[Sent] = []
        again: list[Content] = []  #: of contents that are on their way
        waiting: deque[Future[list[Sent]]] = deque()
        with self._round:
            try:
                for pack in _packs(self._new(small, sent, again)):
                    if len(waiting) == IN_FLIGHT:
                        sent += waiting.popleft().result()
                    waiting.append(self._pool.submit(self._send, pack))
            finally:
                wait(waiting)
            sent += [one for future in waiting for one in future.result()]
            sent += [(one.seen, _placed(one.ref, self._places[one.sha256])) for one in again]
        return sent

    def _new(self, small: Sequence[Seen], sent: list[Sent], again: list[Content]) -> Iterator[Content]:
        """Read them. What is in blob storage goes to ``sent``, a content that came before to ``again``."""
        seen: set[str] = set()
        for content in filter(None, map(_read, small)):
            if self._store.aborted:
                raise StagingError("the run was cancelled")
            if (ref := self._stored(content)) is not None:
                sent.append((content.seen, ref))
            elif content.sha256 in seen:
                again.append(content)
            else:
                seen.add(content.sha256)
                yield content

    def _stored(self, content: Content) -> BlobRef | None:
        """Where the content is already: as this file was before it was touched, or in what this run has sent."""
        before = self._index.last(str(content.seen.want.local))
        if before is not None and is_same(before, content.ref):
            return _placed(content.ref, before)
        if (there := self.packed(content.sha256)) is not None:
            return _placed(content.ref, there)
        alone = replace(content.ref, blob=self._store.prefix + SINGLE + content.sha256)
        return alone if alone.blob in self._store.stored else None

    def _send(self, pack: list[Content]) -> list[Sent]:
        """The name says what is in the pack, by the digests of its members."""
        name = hashlib.sha256("".join(f"{one.sha256} {one.ref.size_bytes}\n" for one in pack).encode())
        blob = f"{self._store.prefix}{PREFIX}{name.hexdigest()}"
        data = b"".join(one.data for one in pack)
        if blob not in self._store.stored:
            self._store.upload_pack(blob, data)
            self._store.stored.add(blob)
        sent, offset = [], 0
        for one in pack:
            ref = replace(one.ref, blob=blob, offset=offset, pack_bytes=len(data))
            self._places[one.sha256] = ref
            sent.append((one.seen, ref))
            offset += ref.size_bytes
        return sent


def is_same(before: BlobRef, now: BlobRef) -> bool:
    """Whether a file has the content that was remembered of it. Both are what one path was, at two times."""
    return (before.kind, before.size_bytes, before.md5) == (now.kind, now.size_bytes, now.md5)


def _placed(ref: BlobRef, there: BlobRef) -> BlobRef:
    return replace(ref, blob=there.blob, offset=there.offset, pack_bytes=there.pack_bytes)


def _small(wanted: Iterable[NeededFile]) -> Iterator[Seen]:
    """What is a small file; each once. What is wrong with others is told by who sends them one by one."""
    for want in {want.local: want for want in wanted if want.kind == FILE}.values():
        try:
            seen = Seen.of(want)
        except (OSError, StagingError):
            continue
        if seen.stamp.size_bytes <= SMALL_BYTES:
            yield seen


def _read(seen: Seen) -> Content | None:
    """The file's content; None where it cannot be read, or is not the file that was seen."""
    try:
        data = seen.want.local.read_bytes()
    except OSError:
        return None
    if len(data) != seen.stamp.size_bytes or not seen.stays():
        return None
    ref = BlobRef("", len(data), digests.md5_of(data), seen.mode, FILE)
    return Content(seen, data, hashlib.sha256(data).hexdigest(), ref)


def _packs(contents: Iterable[Content]) -> Iterator[list[Content]]:
    """As many as a pack holds together; one pack in memory."""
    pack: list[Content] = []
    size_bytes = 0
    for content in contents:
        if pack and size_bytes + content.ref.size_bytes > PACK_BYTES:
            yield pack
            pack, size_bytes = [], 0
        pack.append(content)
        size_bytes += content.ref.size_bytes
    if pack:
        yield pack
