"""SHA-256 and MD5 of the same bytes, in one pass. SHA-256 names a blob; MD5 is what Azure Storage keeps with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1 << 20
#: From here on a second thread is worth it.
SIDE_BY_SIDE_BYTES = 16 << 20
LARGE_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Digests:
    """Both digests in hexadecimal, and how many bytes they cover."""

    sha256: str
    md5: str
    size_bytes: int


def md5_of(data: bytes | memoryview) -> str:
    """The MD5 of some bytes, in hexadecimal."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def md5_of_file(path: Path) -> str:
    """The MD5 of a file, in hexadecimal. Raises OSError."""
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        for piece in pieces(stream):
            md5.update(piece)
    return md5.hexdigest()


def of_pieces(pieces: Iterable[bytes]) -> Digests:
    """Digest bytes as they come."""
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for piece in pieces:
        sha256.update(piece)
        md5.update(piece)
        size_bytes += len(piece)
    return Digests(sha256.hexdigest(), md5.hexdigest(), size_bytes)


def of_file(path: Path) -> Digests:
    """Digest a file. Raises OSError."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size < SIDE_BY_SIDE_BYTES:
            return of_pieces(pieces(stream))
        return _side_by_side(pieces(stream, LARGE_PIECE_BYTES))


def _side_by_side(pieces: Iterable[bytes]) -> Digests:
    """Both digests at once: MD5 in a thread of its own, which is the slower one. Two pieces in memory at most."""
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with ThreadPoolExecutor(1, thread_name_prefix="smk-md5") as side:
        before: Future[None] | None = None
        for piece in pieces:
            if before is not None:
                before.result()
            before = side.submit(md5.update, piece)
            sha256.update(piece)
            size_bytes += len(piece)
    return Digests(sha256.hexdigest(), md5.hexdigest(), size_bytes)


def pieces(stream: BinaryIO, size_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """What is in ``stream``, cut into pieces of ``size_bytes``; the last one may be shorter."""
    while piece := stream.read(size_bytes):
        yield piece
