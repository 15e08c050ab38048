"""Members of packs on their way down: read in few requests, cut, each verified by its own MD5."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.packing import Span, spans_of
from snakemake_executor_azurebatch.node.protocol import StoredFile
from snakemake_executor_azurebatch.staging import digests
from snakemake_executor_azurebatch.staging.place import write_new, writing

#: A file of a pack, and the new name that it gets.
Move = tuple[StoredFile, Path]
#: Reads a part of a blob: name, first byte, number of bytes.
ReadSpan = Callable[[str, int, int], bytes]


def by_request(moves: Iterable[Move]) -> list[list[Move]]:
    """What is read together: members of one pack that lie side by side, or nearly so."""
    by_blob: defaultdict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_blob[move[0].blob].append(move)
    return [[some[member] for member in span.members] for some in by_blob.values() for span in _spans(some)]


def fetch_packed(read: ReadSpan, moves: Sequence[Move]) -> None:
    """Bring members of one pack to their new names, verified, with their permission bits.

    Raises StagingError where one is not what the record says, ServiceError; the caller removes what is left.
    """
    for span in _spans(moves):
        data = memoryview(read(moves[0][0].blob, span.start, span.size_bytes) if span.size_bytes else b"")
        for stored, temporary in (moves[member] for member in span.members):
            first = (stored.offset or 0) - span.start
            _write(stored, data[first : first + stored.size_bytes], temporary)


def _spans(moves: Sequence[Move]) -> list[Span]:
    return spans_of([(stored.offset or 0, stored.size_bytes) for stored, _ in moves])


def _write(stored: StoredFile, content: memoryview, temporary: Path) -> None:
    md5 = digests.md5_of(content)
    if (len(content), md5) != (stored.size_bytes, stored.md5):
        raise not_as_stored(stored, len(content), md5)
    with writing(stored.path, temporary):
        write_new(temporary, content, stored.mode & 0o777)


def not_as_stored(stored: StoredFile, size_bytes: int, md5: str) -> StagingError:
    """The error for a blob that is not what the record says."""
    return StagingError(
        f"{stored.path} was not what the node stored: {stored.size_bytes} bytes with MD5 {stored.md5}"
        f" expected, {size_bytes} bytes{f' with MD5 {md5}' if md5 else ''} received (blob {stored.blob})"
    )


def carried(stored: StoredFile) -> bytes | None:
    """The content that a commit record has of a file; None where it has none, or not the right one."""
    if stored.content is None:
        return None
    try:
        content = base64.b64decode(stored.content, validate=True)
    except ValueError:
        return None
    return content if is_as_stored(content, stored) else None


def is_as_stored(data: bytes, stored: StoredFile) -> bool:
    """Whether this is the content of a file; Azure Batch leaves some without an MD5."""
    return len(data) == stored.size_bytes and stored.md5 in ("", digests.md5_of(data))
