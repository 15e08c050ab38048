"""Uploading a large file as blocks, several at a time, with bounded memory, and read once.

The SDK's own chunked upload would do, but for two things: its block size is fixed when the client is made,
and it cannot hold back the commit. Here the bytes that were really sent are digested while they are on their way,
and who commits them can look first whether they are what they should be.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.staging import digests

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

#: Told the bytes of every block that was sent; raises where no more are to be sent.
Moved = Callable[[int], None]

MIB = 1 << 20
BLOCK_BYTES = 8 * MIB
#: A block blob has at most 50,000 blocks of at most 4,000 MiB
#: (source: "Scalability and performance targets for Blob Storage").
MAX_BLOCKS = 50_000
MAX_BLOCK_BYTES = 4_000 * MIB
IN_FLIGHT = 4
#: Blocks of one file on their way hold no more memory than this, unless one alone is larger.
BUFFER_BYTES = 64 * MIB


def block_size_bytes(size_bytes: int) -> int:
    """The block size for a file: whole MiB, as small as the limit on their number allows, at least BLOCK_BYTES.

    Raises StagingError for more than a blob can hold (about 190 TiB).
    """
    needed = -(-size_bytes // MAX_BLOCKS)
    block_bytes = max(BLOCK_BYTES, -(-needed // MIB) * MIB)
    if block_bytes > MAX_BLOCK_BYTES:
        raise StagingError(f"{size_bytes} bytes are more than one blob can hold ({MAX_BLOCKS * MAX_BLOCK_BYTES})")
    return block_bytes


def blocks_in_flight(block_bytes: int) -> int:
    """How many blocks of one file may be held in memory at once."""
    return max(1, min(IN_FLIGHT, BUFFER_BYTES // block_bytes))


@dataclass(frozen=True, slots=True)
class SentBlocks:
    """Blocks that were sent and not committed: their ids in order, and MD5 (hexadecimal) and size of all together."""

    ids: list[str]
    md5: str
    size_bytes: int


def send_blocks(blob: BlobClient, local: Path, pool: Executor, moved: Moved) -> SentBlocks:
    """Send a file's content as uncommitted blocks.

    Few blocks are held in memory at once; ``moved`` is told of each that was sent. Raises StagingError
    where the file grew beyond what its blocks can hold, OSError, and the SDK's errors.
    """
    sent, total_bytes = hashlib.md5(usedforsecurity=False), 0
    ids: list[str] = []
    waiting: deque[Future[int]] = deque()
    try:
        with local.open("rb") as stream:
            size_bytes = block_size_bytes(os.fstat(stream.fileno()).st_size)
            most = blocks_in_flight(size_bytes)
            for piece in digests.pieces(stream, size_bytes):
                if len(ids) == MAX_BLOCKS:
                    raise StagingError(f"{local} changed while it was being uploaded")
                if len(waiting) == most:
                    moved(waiting.popleft().result())
                ids.append(base64.b64encode(b"%08d" % len(ids)).decode())
                waiting.append(pool.submit(_send, blob, ids[-1], piece))
                sent.update(piece)
                total_bytes += len(piece)
        while waiting:
            moved(waiting.popleft().result())
    finally:
        for future in waiting:
            future.cancel()
    return SentBlocks(ids, sent.hexdigest(), total_bytes)


def _send(blob: BlobClient, block_id: str, piece: bytes) -> int:
    blob.stage_block(block_id, piece, length=len(piece), validate_content=True)
    return len(piece)
