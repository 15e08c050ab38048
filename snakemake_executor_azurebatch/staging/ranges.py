"""Downloading a blob as ranges, several at a time, written and digested in order, with bounded memory.

The SDK's own parallel download writes as it comes, so that the file has to be read again for its digest. Here the
digest is made of the bytes as they are written, while the next ones are on their way.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from snakemake_executor_azurebatch.staging.blocks import IN_FLIGHT, MIB, Moved

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

RANGE_BYTES = 8 * MIB


@dataclass(frozen=True)
class Received:
    """How many bytes a blob has, and the MD5 (hexadecimal) of those that came; empty where none were written."""

    size_bytes: int
    md5: str


def receive(blob: BlobClient, expected_bytes: int, stream: BinaryIO, pool: Executor, moved: Moved) -> Received:
    """Write a blob of the size ``expected_bytes`` to ``stream``; nothing of one that has another size.

    At most IN_FLIGHT ranges are held in memory; ``moved`` is told of each that was written. Raises OSError, and the
    SDK's errors.
    """
    size_bytes, first = _begin(blob, expected_bytes)
    if size_bytes != expected_bytes:
        return Received(size_bytes, "")
    md5 = hashlib.md5(usedforsecurity=False)
    for piece in _in_order(blob, first, expected_bytes, pool):
        moved(len(piece))
        md5.update(piece)
        stream.write(piece)
    return Received(stream.tell(), md5.hexdigest())


def _begin(blob: BlobClient, expected_bytes: int) -> tuple[int, bytes]:
    """The size of the whole blob, and its first range."""
    if expected_bytes > RANGE_BYTES:
        content = blob.download_blob(offset=0, length=RANGE_BYTES)
        size_bytes = int(str(content.properties.content_range).rpartition("/")[2])
    else:  # without a range: an empty blob has none
        content = blob.download_blob()
        size_bytes = content.size
    return size_bytes, content.readall() if size_bytes == expected_bytes else b""


def _in_order(blob: BlobClient, first: bytes, size_bytes: int, pool: Executor) -> Iterator[bytes]:
    """All ranges; while one is used, the next ones are fetched."""
    waiting: deque[Future[bytes]] = deque()
    starts = iter(range(len(first), size_bytes, RANGE_BYTES))

    def fetch(start: int) -> bytes:
        data: bytes = blob.download_blob(offset=start, length=min(RANGE_BYTES, size_bytes - start)).readall()
        return data

    def begin_next() -> None:
        if (start := next(starts, None)) is not None:
            waiting.append(pool.submit(fetch, start))

    try:
        for _ in range(IN_FLIGHT - 1):
            begin_next()
        yield first
        while waiting:
            piece = waiting.popleft().result()
            begin_next()
            yield piece
    finally:
        for future in waiting:
            future.cancel()
