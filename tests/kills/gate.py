"""An HTTP proxy that stops at a chosen request, so that something can be killed exactly there.

It stands in front of Azurite or of the local Batch service. Signatures hold, as they do not cover the port.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import unquote

from snakemake_executor_azurebatch.staging.quick import AGENT


class Moment(Enum):
    """Where in a request to stop."""

    BEFORE = "before"  #: nothing of it is passed on
    HALF_SENT = "half sent"  #: half of its body is passed on
    AFTER = "after"  #: it was done, and its answer is held back
    HALF_ANSWERED = "half answered"  #: half of the answer's body is passed on


@dataclass(frozen=True)
class Stop:
    """The ``number``-th request of ``who`` (controller, stager, service) that fits, and where in it to stop.

    ``fits`` is looked for in "METHOD /path?query".
    """

    who: str
    fits: str
    moment: Moment
    number: int = 1

    def __str__(self) -> str:
        return f"{self.who} {self.fits} {self.moment.value} {self.number}"


@dataclass
class Halt:
    """A stop on its way. Once reached, the request stays there until ``release``; then its connection breaks."""

    stop: Stop
    passed: int = 0
    client_port: int = 0
    reached: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)

    def wait(self, running: subprocess.Popen[str]) -> int:
        """Wait until it is reached, as long as a run lives; the port of the client that made the request."""
        while not self.reached.wait(0.1):
            assert running.poll() is None, f"no such request: {self.stop}\n{running.stdout and running.stdout.read()}"
        return self.client_port

    def release(self) -> None:
        self.released.set()


class Gate:
    """Where the proxy is, and what it is to stop at."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.seen: list[str] = []
        self._halts: list[Halt] = []
        self._lock = Lock()

    def stop_at(self, stop: Stop) -> Halt:
        halt = Halt(stop)
        with self._lock:
            self._halts.append(halt)
        return halt

    def open(self) -> None:
        """Stop at nothing any more; what is stopped goes on."""
        with self._lock:
            halts, self._halts = self._halts, []
            self.seen.clear()
        for halt in halts:
            halt.release()

    def met(self, who: str, request: str) -> Halt | None:
        """The halt of this request. Each happens once."""
        with self._lock:
            self.seen.append(f"{who} {request}")
            for halt in self._halts:
                if halt.stop.who == who and re.search(halt.stop.fits, request):
                    halt.passed += 1
                    if halt.passed == halt.stop.number:
                        return halt
        return None


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients that are killed hang up."""


@contextmanager
def gate_to(target_port: int) -> Iterator[Gate]:
    """Stand in front of a server of this machine."""
    gate = Gate(target_port)
    handler = type("Handler", (_Handler,), {"gate": gate})
    with _Quiet(("127.0.0.1", 0), handler) as server:
        gate.port = server.server_port
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield gate
        finally:
            gate.open()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        halt = self.gate.met(self._who(), f"{self.command} {unquote(self.path)}")
        moment = halt.stop.moment if halt else None
        if halt and moment is Moment.BEFORE:
            self._halt(halt)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.gate.target_port, timeout=120)
        try:
            sent = body[: len(body) // 2] if moment is Moment.HALF_SENT else body
            self._send_on(upstream, sent)
            if halt and moment is Moment.HALF_SENT:
                self._halt(halt)
                return
            answer = upstream.getresponse()
            self._answer(halt, answer, answer.read())
        except (OSError, http.client.HTTPException):  # the server behind is gone
            self._cut()
        finally:
            upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815  http.server wants these names

    def _who(self) -> str:
        agent = self.headers.get("User-Agent") or ""
        return "controller" if "azsdk" in agent or agent == AGENT else "service" if agent else "stager"

    def _send_on(self, upstream: http.client.HTTPConnection, body: bytes) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "connection":
                upstream.putheader(name, value)
        upstream.endheaders()
        if body:
            upstream.send(body)

    def _answer(self, halt: Halt | None, answer: http.client.HTTPResponse, body: bytes) -> None:
        if halt and halt.stop.moment is Moment.AFTER:
            self._halt(halt)
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "keep-alive", "content-length"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        if answer.status not in (204, 304):
            self.send_header("Content-Length", length)
        self.end_headers()
        if halt:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self._halt(halt)
        else:
            self.wfile.write(body)

    def _halt(self, halt: Halt) -> None:
        halt.client_port = self.client_address[1]
        halt.reached.set()
        halt.released.wait()
        self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
