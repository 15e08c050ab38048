"""A real HTTP server in front of blob storage, which counts what is asked for and can stop halfway."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Forwarder:
    """``seen`` counts (method, path). A GET whose path ends with ``stop_at`` gets the first half of the body."""

    port: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    stop_at: str = "\0"
    stopped: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)
    change: Condition = field(default_factory=Condition)

    def url(self, url: str) -> str:
        """A URL of the storage behind, as one of this server."""
        return urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def gets(self, blob: str) -> int:
        return sum(count for (method, path), count in self.seen.items() if method == "GET" and path.endswith(blob))

    def wait_for(self, blob: str, count: int = 1) -> None:
        """Return as soon as blobs that end like this were asked for so often."""
        with self.change:
            self.change.wait_for(lambda: self.gets(blob) >= count)


@contextmanager
def forwarding(url: str) -> Iterator[Forwarder]:
    """Forward to the server of a URL."""
    target, forwarder = urlsplit(url), Forwarder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with forwarder.change:
                forwarder.seen[self.command, path] += 1
                forwarder.change.notify_all()
            connection = http.client.HTTPConnection(target.hostname or "", target.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "keep-alive", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(path, body)

        def _send(self, path: str, body: bytes) -> None:
            if path.endswith(forwarder.stop_at) and not forwarder.go_on.is_set():
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                forwarder.stopped.set()
                forwarder.go_on.wait()
                body = body[len(body) // 2 :]
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_args: object) -> None:
            """A task that was killed hangs up."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        forwarder.port = server.server_port
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield forwarder
        forwarder.go_on.set()
        server.shutdown()
        thread.join()
