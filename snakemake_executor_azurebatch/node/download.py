"""Blobs to local files: whole, or by parallel ranges where they are large; size and MD5 checked."""

from __future__ import annotations

import http.client
import os
from typing import IO, NamedTuple, Optional, Tuple

from .blob import Container, Damaged
from .errors import StageError, disk_error
from .limits import CHUNK_BYTES, Limits
from .md5 import base64_of, digest, file_md5, new_md5
from .parallel import each


class Wanted(NamedTuple):
    """A blob and what it must be. ``path`` is what messages call it.

    ``md5`` may be empty where nobody stored one. For the rest see ``protocol.InputFile``.
    """

    path: str
    blob: str
    size_bytes: int
    md5: str
    container_url: str = ""
    etag: str = ""
    offset: Optional[int] = None
    pack_bytes: int = 0


def download(store: Container, wanted: Wanted, target: str, limits: Limits) -> None:
    """Write a blob to the file ``target``. Raises StageError when it is not what was wanted, or not there."""
    if wanted.offset is not None:
        found = _member_to_file(store, wanted, target)
    elif wanted.size_bytes > limits.range_threshold_bytes:
        found = _by_ranges(store, wanted, target, limits)
    else:
        found = store.read(wanted.blob, lambda response: _to_file(response, wanted, target), etag=wanted.etag)
    if wanted.md5 and found != wanted.md5:
        raise StageError("%s: blob %s has MD5 %s, not %s" % (wanted.path, wanted.blob, found, wanted.md5))


def download_part(store: Container, wanted: Wanted, span: Tuple[int, int]) -> bytes:
    """A part of a pack: ``span`` is (first byte, number of bytes). Raises StageError for a pack of another size."""

    def take(response: http.client.HTTPResponse) -> bytes:
        said = (response.headers.get("Content-Range") or "").rpartition("/")[2]
        if said != str(wanted.pack_bytes):
            raise _of_another_size(wanted, said, wanted.pack_bytes)
        data = response.read()
        if len(data) != span[1]:
            raise Damaged
        return data

    return store.read(wanted.blob, take, span) if span[1] else b""


def _member_to_file(store: Container, wanted: Wanted, target: str) -> str:
    data = download_part(store, wanted, (wanted.offset or 0, wanted.size_bytes))
    with _opened(target, "r+b" if os.path.exists(target) else "wb") as stream:
        _write(stream, data, target)
        _flush(stream, target)
    return digest(data).hex()


def _to_file(response: http.client.HTTPResponse, wanted: Wanted, target: str) -> str:
    _check_size(wanted, response.headers.get("Content-Length"))
    md5, done = new_md5(), 0
    # a file that is there has its size already, from which the node cache tells what is still to come
    with _opened(target, "r+b" if os.path.exists(target) else "wb") as stream:
        for chunk in iter(lambda: response.read(CHUNK_BYTES), b""):
            md5.update(chunk)
            _write(stream, chunk, target)
            done += len(chunk)
        _flush(stream, target)
    stored = response.headers.get("Content-MD5")
    if done != wanted.size_bytes or stored not in (None, base64_of(md5.digest())):
        raise Damaged
    return md5.hexdigest()


def _by_ranges(store: Container, wanted: Wanted, target: str, limits: Limits) -> str:
    with _opened(target, "wb") as stream:
        stream.truncate(wanted.size_bytes)
    starts = range(0, wanted.size_bytes, limits.range_bytes)
    spans = [(start, min(limits.range_bytes, wanted.size_bytes - start)) for start in starts]

    def fetch(span: Tuple[int, int]) -> None:
        store.read(wanted.blob, lambda response: _range_to_file(response, wanted, target, span), span, wanted.etag)

    each(fetch, spans, limits.workers)
    return file_md5(target) if wanted.md5 else ""


def _range_to_file(response: http.client.HTTPResponse, wanted: Wanted, target: str, span: Tuple[int, int]) -> None:
    _check_size(wanted, (response.headers.get("Content-Range") or "").rpartition("/")[2])
    done = 0
    with _opened(target, "r+b") as stream:
        stream.seek(span[0])
        for chunk in iter(lambda: response.read(CHUNK_BYTES), b""):
            _write(stream, chunk, target)
            done += len(chunk)
        _flush(stream, target)
    if done != span[1]:
        raise Damaged


def _check_size(wanted: Wanted, said: Optional[str]) -> None:
    if said != str(wanted.size_bytes):
        raise _of_another_size(wanted, said, wanted.size_bytes)


def _of_another_size(wanted: Wanted, said: Optional[str], size_bytes: int) -> StageError:
    return StageError("%s: blob %s has %s bytes, not %d" % (wanted.path, wanted.blob, said, size_bytes))


# An OSError of the disk must not look like one of the connection, which would be tried again.


def _opened(target: str, mode: str) -> IO[bytes]:
    try:
        return open(target, mode)
    except OSError as error:
        raise disk_error("cannot write", error) from error


def _write(stream: IO[bytes], chunk: bytes, target: str) -> None:
    try:
        stream.write(chunk)
    except OSError as error:
        raise disk_error("cannot write " + target, error) from error


def _flush(stream: IO[bytes], target: str) -> None:
    try:
        stream.flush()
    except OSError as error:
        raise disk_error("cannot write " + target, error) from error


def remove_quietly(path: str) -> None:
    """Remove a temporary file, wherever things stand."""
    try:
        os.unlink(path)
    except OSError:
        return  # never made, or gone with its folder
