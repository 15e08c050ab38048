"""Talks to one blob container of Azure Storage, through a container URL that carries a SAS.

GET                                              200, Content-MD5 of the blob where it is known
GET   Range: bytes=FIRST-LAST                    206, Content-Range: bytes FIRST-LAST/TOTAL
PUT   x-ms-blob-type: BlockBlob                  201  Put Blob
PUT   ?comp=block&blockid=ID                     201  Put Block
PUT   ?comp=blocklist   <BlockList>...           201  Put Block List
Errors carry x-ms-error-code. 408, 429, 500, 502, 503, 504 and broken connections are tried again.

source: Azure Storage REST documentation of these operations.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, Optional, Sequence, Tuple, TypeVar
from urllib.parse import quote, urlsplit

from .connection import Connections
from .errors import StageError
from .limits import CHUNK_BYTES, RetryPolicy
from .md5 import base64_of, digest
from .report import say

API_VERSION = "2021-12-02"
TRANSIENT_STATUS = frozenset((408, 429, 500, 502, 503, 504))

T = TypeVar("T")
Consume = Callable[[http.client.HTTPResponse], T]


class BlobError(StageError):
    """Blob storage refused a request or could not be reached. ``status`` is None without an answer."""

    def __init__(self, message: str, status: Optional[int] = None, code: str = "") -> None:
        self.status = status
        self.code = code
        self.is_passing = status in TRANSIENT_STATUS  #: worth another try, later or elsewhere
        super().__init__(message)


class Interrupted(StageError):
    """A transfer was given up because the task was told to stop."""


class Damaged(http.client.HTTPException):
    """A body that was cut off or changed on its way: worth another try."""

    strerror = "the answer was cut off or damaged"


class _Transient(Exception):
    """Worth another try. ``free``: an idle connection was closed or forgotten, which counts as no try."""

    def __init__(self, error: BlobError, retry_after_s: Optional[float] = None, free: bool = False) -> None:
        self.error = error
        self.retry_after_s = retry_after_s
        self.free = free
        super().__init__(str(error))


@dataclass(frozen=True)
class Request:
    """One request for a blob. The body is bytes, so that it can be sent again."""

    method: str
    name: str
    query: str = ""
    headers: Dict[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class Asked:
    """A small blob that was asked for. What is not taken is to be dropped, or its connection stays open for nothing."""

    def __init__(self, take: Callable[[], bytes], drop: Callable[[], None]) -> None:
        self._take = take
        self._drop = drop
        self._is_taken = False

    def take(self) -> bytes:
        """Wait for the blob, and do as ``Container.get``. To be called once."""
        self._is_taken = True
        return self._take()

    def drop(self) -> None:
        """Do without the blob, where it was not taken."""
        if not self._is_taken:
            self._drop()


class Container:
    """One blob container. Safe to use from several threads.

    ``stopping`` set means: start nothing new, raise Interrupted.
    """

    def __init__(
        self,
        url: str,
        retry: Optional[RetryPolicy] = None,
        stopping: Optional[threading.Event] = None,
        connections: Optional[Connections] = None,
    ) -> None:
        parts = urlsplit(url)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of the port
            usable = False
        if not usable:
            raise StageError("the URL of the blob container is not a usable http or https URL")
        self._path, self._sas = parts.path.rstrip("/"), parts.query
        self._retry = retry or RetryPolicy()
        self._stopping = stopping or threading.Event()
        self.connections = connections or Connections(url, self._retry.timeout_s)
        self._patience_s, self._answered = 0.0, time.monotonic()
        self.marks: Dict[str, str] = {}  #: metadata of each blob that is stored from now on

    def __repr__(self) -> str:
        return "<Container %s%s>" % (self.connections.host, self._path)

    def redact(self, text: str) -> str:
        """The text without this container's SAS."""
        return text.replace(self._sas, "<SAS>") if self._sas else text

    def persist(self, patience_s: float) -> None:
        """From now on give up only where there was no good answer for so long, too; with 0 by the attempts alone."""
        self._patience_s, self._answered = patience_s, time.monotonic()

    def get(self, name: str) -> bytes:
        """The whole of a small blob, checked against its own MD5. Raises BlobError."""
        return self.read(name, _whole)

    def ask(self, name: str) -> Asked:
        """Ask for the whole of a small blob, and return at once."""
        request = Request("GET", name)
        connection, used = self.connections.take()
        try:
            with self._using(connection, used, request):
                self._request(connection, request)
        except (_Transient, BlobError):
            return Asked(lambda: self.get(name), lambda: None)

        def take() -> bytes:
            try:
                with self._using(connection, used, request):
                    return self._received(connection, request, _whole)
            except _Transient:
                return self.get(name)

        return Asked(take, lambda: self.connections.drop(connection))

    def read(self, name: str, consume: Consume[T], span: Optional[Tuple[int, int]] = None, etag: str = "") -> T:
        """Hand the response to ``consume``, again from the start when the connection breaks.

        ``span`` is (first byte, number of bytes); an ``etag`` is the only version to be content with. ``consume``
        must not let an OSError of its own out: it would be taken for one of the connection.
        """
        headers = {"Range": "bytes=%d-%d" % (span[0], span[0] + span[1] - 1)} if span else {}
        if etag:
            headers["If-Match"] = etag
        return self._send(Request("GET", name, headers=headers), consume)

    def put(
        self, name: str, data: bytes, md5: Optional[bytes] = None, headers: Optional[Dict[str, str]] = None
    ) -> None:
        """Store a blob in one request. The service checks the MD5. Raises BlobError."""
        text = base64_of(md5 if md5 is not None else digest(data))
        always = {"x-ms-blob-type": "BlockBlob", "Content-MD5": text, "x-ms-blob-content-md5": text}
        headers = {**always, **self._metadata(), **(headers or {})}
        self._send(Request("PUT", name, headers=headers, body=data), _drain)

    def put_block(self, name: str, block_id: str, data: bytes) -> None:
        """Store one block of a blob that does not exist yet. Raises BlobError."""
        query = "comp=block&blockid=" + quote(block_id, safe="")
        self._send(Request("PUT", name, query, {"Content-MD5": base64_of(digest(data))}, data), _drain)

    def put_block_list(self, name: str, block_ids: Sequence[str], md5: bytes) -> None:
        """Make a blob of its blocks; ``md5`` is the whole blob's. Raises BlobError."""
        latest = "".join("<Latest>%s</Latest>" % block_id for block_id in block_ids)
        body = ('<?xml version="1.0" encoding="utf-8"?><BlockList>%s</BlockList>' % latest).encode("ascii")
        headers = {"x-ms-blob-content-md5": base64_of(md5), "Content-MD5": base64_of(digest(body))}
        self._send(Request("PUT", name, "comp=blocklist", {**headers, **self._metadata()}, body), _drain)

    def close(self) -> None:
        """Close every connection."""
        self.connections.close()

    def _metadata(self) -> Dict[str, str]:
        return {"x-ms-meta-" + name: value for name, value in self.marks.items()}

    def _send(self, request: Request, consume: Consume[T]) -> T:
        start, failures = time.monotonic(), 0
        while True:
            if self._stopping.is_set():
                raise Interrupted("%s %s: given up, the task was told to stop" % (request.method, request.name))
            try:
                return self._once(request, consume)
            except _Transient as trouble:
                failures += not trouble.free
                refused = trouble.error.status == 403
                if refused and time.monotonic() - start > self._retry.policy_grace_s:
                    raise trouble.error from None
                if not refused and failures >= self._retry.attempts:
                    self._check_patience(trouble.error, is_first=failures == self._retry.attempts)
                if not trouble.free:
                    self._stopping.wait(self._wait_s(failures, trouble.retry_after_s))

    def _check_patience(self, error: BlobError, is_first: bool) -> None:
        left_s = self._patience_s - (time.monotonic() - self._answered)
        if left_s <= 0:
            raise error from None
        if is_first:
            say("%s; trying again, for up to %d minutes" % (error, -(-left_s // 60)))

    def _wait_s(self, failures: int, retry_after_s: Optional[float]) -> float:
        if retry_after_s is not None and failures < self._retry.attempts:
            return min(retry_after_s, self._retry.longest_retry_after_s)
        wait_s = min(self._retry.first_wait_s * 2.0 ** min(failures - 1, 30), self._retry.longest_wait_s)
        return wait_s * (0.5 + os.urandom(1)[0] / 510)  # half to full, so that tasks do not come back together

    def _once(self, request: Request, consume: Consume[T]) -> T:
        connection, used = self.connections.take()
        with self._using(connection, used, request):
            self._request(connection, request)
            return self._received(connection, request, consume)

    @contextmanager
    def _using(self, connection: http.client.HTTPConnection, used: bool, request: Request) -> Iterator[None]:
        """A connection that is not used again after anything went wrong: the rest of an answer may be on its way."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self.connections.drop(connection)
            raise self._broken(request, error, used) from None
        except BaseException:
            self.connections.drop(connection)
            raise

    def _received(self, connection: http.client.HTTPConnection, request: Request, consume: Consume[T]) -> T:
        response = connection.getresponse()
        if response.status >= 300:
            self._refuse(request, response)
        result = consume(response)
        response.read()
        self.connections.give(connection)
        self._answered = time.monotonic()
        return result

    def _request(self, connection: http.client.HTTPConnection, request: Request) -> None:
        query = "&".join(part for part in (self._sas, request.query) if part)
        target = "%s/%s?%s" % (self._path, quote(request.name, safe="/~", errors="surrogateescape"), query)
        target = self.connections.target_prefix + target
        headers = {**self.connections.headers, **request.headers, "x-ms-version": API_VERSION}
        if request.method == "PUT":
            headers["Content-Length"] = str(len(request.body))
        # a server that refuses may close before it read everything, but has said why
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(request.method, target, body=_pieces(request.body), headers=headers)

    def _refuse(self, request: Request, response: http.client.HTTPResponse) -> None:
        code = response.headers.get("x-ms-error-code") or response.reason
        text = "%s %s: %s (HTTP %d)" % (request.method, request.name, code, response.status)
        if response.status in (401, 403):
            text += "; the SAS may have expired or been revoked"
        if response.status == 412:
            text += "; it was changed after the job had been submitted"
        response.read()
        error = BlobError(text, response.status, code)
        late_policy = response.status == 403 and "&si=" in "&" + self._sas
        if response.status in TRANSIENT_STATUS or code == "Md5Mismatch" or late_policy:
            raise _Transient(error, _retry_after_s(response.headers.get("Retry-After")))
        raise error

    def _broken(self, request: Request, error: Exception, used: bool) -> Exception:
        verify = getattr(error, "verify_message", None)
        if verify:
            return BlobError(
                "%s is not trusted: %s (does the image hold CA certificates?)" % (self.connections.host, verify)
            )
        said = getattr(error, "strerror", None) or type(error).__name__
        text = "%s %s: no answer from %s (%s)" % (request.method, request.name, self.connections.host, said)
        silent = used and isinstance(error, (socket.timeout, TimeoutError))  # two classes before Python 3.10
        if silent:  # each of the others would take as long
            self.connections.drop_idle()
        idle = used and isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError))
        broken = BlobError(text)
        broken.is_passing = True
        return _Transient(broken, free=idle or silent)


def _pieces(body: bytes) -> Optional[Iterator[memoryview]]:
    """In pieces, as a socket's time-out is for one whole ``sendall``."""
    if not body:
        return None
    view = memoryview(body)
    return (view[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES))


def _whole(response: http.client.HTTPResponse) -> bytes:
    data = response.read()
    if response.headers.get("Content-MD5") not in (None, base64_of(digest(data))):
        raise Damaged
    return data


def _drain(response: http.client.HTTPResponse) -> None:
    response.read()


def _retry_after_s(text: Optional[str]) -> Optional[float]:
    """Retry-After = seconds | HTTP date; None where it says nothing usable."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
