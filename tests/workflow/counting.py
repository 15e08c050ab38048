"""A real HTTP server in front of blob storage that notes who asked for what."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from snakemake_executor_azurebatch.staging.quick import AGENT

HOP = ("host", "transfer-encoding", "connection", "keep-alive", "content-length")


@dataclass(frozen=True)
class Asked:
    """One request. ``name``: the blob's, without its container."""

    by_controller: bool
    method: str
    name: str
    query: dict[str, list[str]]
    body_bytes: int


@dataclass
class Counter:
    """What was asked for through ``port``."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    def sent(self, area: str = "") -> list[str]:
        """Names of blobs whose content the controller has sent, accepted or not; once for each time."""
        return [
            one.name
            for one in self.asked
            if one.by_controller and one.method == "PUT" and one.name.startswith(area) and "comp" not in one.query
        ]

    def downloads(self, name: str) -> int:
        """How often nodes have downloaded a blob."""
        return sum(not one.by_controller and one.method == "GET" and one.name == name for one in self.asked)


@contextmanager
def counting(port: int) -> Iterator[Counter]:
    """Count what goes to the server at ``port`` of this machine."""
    counter = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            counter.asked.append(
                Asked(
                    any(name in self.headers.get("User-Agent", "") for name in ("azsdk-python", AGENT)),
                    self.command,
                    unquote(parts.path).partition("/devstoreaccount1/")[2].partition("/")[2],
                    parse_qs(parts.query),
                    len(body),
                )
            )
            behind = http.client.HTTPConnection("127.0.0.1", port)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
            if self.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(body))
            behind.request(self.command, self.path, body=body or None, headers=headers)
            answer = behind.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)
            behind.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815 (the names of the base class)

        def log_message(self, *_args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_args: object) -> None:
            """Whoever was ended hangs up."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        counter.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield counter
        server.shutdown()
        thread.join()
