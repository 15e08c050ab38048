"""Bytes to a blob: one request where they are few, else parallel blocks sized to the whole."""

from __future__ import annotations

import base64
import os
from collections import deque
from typing import TYPE_CHECKING, Deque, List, NamedTuple, Optional

from .blob import Container
from .errors import StageError
from .limits import CHUNK_BYTES, MIB, MOST_BLOCK_BYTES, MOST_BLOCKS, Limits
from .md5 import new_md5

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


class Stored(NamedTuple):
    """What a blob holds now; ``md5`` in hexadecimal."""

    size_bytes: int
    md5: str


def block_size(expected_bytes: int, limits: Limits) -> int:
    """The block size for a blob of about this size, so that the most blocks of one blob suffice.

    Raises StageError for more than a blob can hold (about 190 TiB).
    """
    least = -(-expected_bytes // MOST_BLOCKS)
    size = max(limits.block_bytes, -(-least // MIB) * MIB if least > limits.block_bytes else 0)
    if size > MOST_BLOCK_BYTES:
        raise StageError("%d bytes are more than one blob can hold" % expected_bytes)
    return size


class Upload:
    """Takes bytes in order and stores them as one blob, which appears only with ``finish``.

    ``expected_bytes`` sets the block size: an estimate that is not too low. Use as a context manager, so that
    an error in between leaves no transfer running.
    """

    def __init__(self, store: Container, name: str, expected_bytes: int, limits: Limits) -> None:
        self._store = store
        self._name = name
        self._limits = limits
        self._block_bytes = block_size(expected_bytes, limits)
        self._in_blocks = expected_bytes > self._block_bytes
        self._most_waiting = max(2, limits.buffer_bytes // self._block_bytes)
        self._buffer = bytearray()
        self._nonce = os.urandom(8).hex()  # two attempts at one blob must not mix their blocks
        self._ids: List[str] = []
        self._waiting: Deque[Future[None]] = deque()
        self._pool: Optional[ThreadPoolExecutor] = None
        self._md5 = new_md5()
        self.size_bytes = 0

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_exception: object) -> None:
        for future in self._waiting:
            future.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def write(self, data: bytes) -> int:
        """Add bytes. Blocks while too many blocks are on their way. Raises BlobError."""
        self.size_bytes += len(data)
        if self._in_blocks and not self._buffer and len(data) == self._block_bytes:  # as a file is read
            self._send(data)
        else:
            self._buffer += data
            while len(self._buffer) > self._block_bytes:
                self._send(bytes(memoryview(self._buffer)[: self._block_bytes]))
                del self._buffer[: self._block_bytes]
        self._md5.update(data)  # while the blocks before are on their way
        return len(data)

    def finish(self) -> Stored:
        """Make the blob of what was written. Raises BlobError."""
        if not self._ids:
            self._store.put(self._name, bytes(self._buffer), self._md5.digest())
        else:
            if self._buffer:
                self._send(bytes(self._buffer))
            while self._waiting:
                self._waiting.popleft().result()
            self._store.put_block_list(self._name, self._ids, self._md5.digest())
        self._buffer = bytearray()
        return Stored(self.size_bytes, self._md5.hexdigest())

    def _send(self, block: bytes) -> None:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._limits.workers)
        if len(self._ids) == MOST_BLOCKS:
            raise StageError("%s: grew beyond %d blocks of %d bytes" % (self._name, MOST_BLOCKS, self._block_bytes))
        while len(self._waiting) >= self._most_waiting:
            self._waiting.popleft().result()
        # all ids of a blob must have the same length
        block_id = base64.b64encode(b"%s%08d" % (self._nonce.encode("ascii"), len(self._ids))).decode("ascii")
        self._ids.append(block_id)
        self._waiting.append(self._pool.submit(self._store.put_block, self._name, block_id, block))


def upload_file(store: Container, path: str, name: str, limits: Limits) -> Stored:
    """Store a file as a blob. Raises StageError when it changes meanwhile, OSError when it cannot be read."""
    with open(path, "rb") as stream:
        before = os.fstat(stream.fileno())
        with Upload(store, name, before.st_size, limits) as upload:
            pieces = CHUNK_BYTES if before.st_size <= limits.block_bytes else block_size(before.st_size, limits)
            for chunk in iter(lambda: stream.read(pieces), b""):
                upload.write(chunk)
            if upload.size_bytes != before.st_size or not unchanged(before, os.fstat(stream.fileno())):
                raise StageError("%s changed while it was read" % path)
            return upload.finish()


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file that was open has stayed as it was."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
