"""A blob storage of one file of zeros: takes what is sent and forgets it, and gives what is asked for."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

_ZEROS = bytes(1 << 20)


@dataclass
class Nowhere:
    """What was sent so far."""

    url: str
    size_bytes: int
    md5: str
    blocks: int = 0
    received_bytes: int = 0
    committed: bool = False


@contextmanager
def nowhere(size_bytes: int, md5: str) -> Iterator[Nowhere]:
    """Serve a file of this size."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        state = Nowhere(f"http://127.0.0.1:{server.server_port}/account", size_bytes, md5)
        server.state, server.lock = state, Lock()  # type: ignore[attr-defined]  for the handlers
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _state(self) -> Nowhere:
        return self.server.state  # type: ignore[attr-defined]

    def do_PUT(self) -> None:
        left = length = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        with self.server.lock:  # type: ignore[attr-defined]
            if "comp=blocklist" in self.path:
                self._state.committed = True
            else:
                self._state.blocks += 1
                self._state.received_bytes += length
        self._head(201, 0)

    def do_HEAD(self) -> None:
        self._head(404, 0, {"x-ms-error-code": "BlobNotFound"})

    def do_GET(self) -> None:
        asked = self.headers.get("x-ms-range") or self.headers.get("Range")
        size_bytes, first = self._state.size_bytes, 0
        last, status, more = size_bytes - 1, 200, {}
        if asked:
            first, last = (int(number or size_bytes) for number in re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups())
            last, status = min(last, size_bytes - 1), 206
            more = {"Content-Range": f"bytes {first}-{last}/{size_bytes}"}
        self._head(status, last - first + 1, more)
        for start in range(first, last + 1, len(_ZEROS)):
            self.wfile.write(_ZEROS[: last + 1 - start])

    def _head(self, status: int, length: int, more: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        md5 = base64.b64encode(bytes.fromhex(self._state.md5)).decode()
        always = {"ETag": '"1"', "x-ms-blob-type": "BlockBlob", "x-ms-blob-content-md5": md5}
        always |= {"x-ms-version": "2021-12-02", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        for name, value in {**always, **(more or {}), "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
