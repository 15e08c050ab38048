"""A proxy in front of blob storage that writes down who asked for what."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

from snakemake_executor_azurebatch.staging.quick import AGENT

_HOP_HEADERS = ("transfer-encoding", "connection", "keep-alive", "content-length")


@dataclass(frozen=True)
class BlobRequest:
    """One request. Only the controller, and the SDK in it, names itself; the stager does not."""

    method: str
    path: str
    query: str
    is_sdk: bool

    @property
    def moves_data(self) -> bool:
        """Whether the bytes of a blob go along."""
        is_blob = self.path.count("/") > 2
        sends = self.method == "PUT" and ("comp" not in self.query or "comp=block&" in self.query + "&")
        return is_blob and (sends or (self.method == "GET" and "comp=" not in self.query))


@dataclass
class BlobLog:
    """``blob_url`` and ``connection_string`` lead through the proxy."""

    blob_url: str = ""
    connection_string: str = field(default="", repr=False)
    requests: list[BlobRequest] = field(default_factory=list)

    def moved(self, *, by_controller: bool) -> set[tuple[str, str]]:
        """Method and path of all requests with which data was moved."""
        return {(one.method, one.path) for one in self.requests if one.moves_data and one.is_sdk == by_controller}


@contextmanager
def logging_blobs(connection_string: str) -> Iterator[BlobLog]:
    """Forward to the blob storage of a connection string."""
    parts = dict(item.split("=", 1) for item in connection_string.split(";") if item)
    target, log = urlsplit(parts["BlobEndpoint"]), BlobLog()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            asked = urlsplit(self.path)
            is_sdk = any(name in self.headers.get("User-Agent", "") for name in ("azsdk", AGENT))
            log.requests.append(BlobRequest(self.command, unquote(asked.path), asked.query, is_sdk))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(target.hostname or "", target.port)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_HEADERS:
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            """Nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    parts["BlobEndpoint"] = log.blob_url = target._replace(netloc=f"127.0.0.1:{server.server_port}").geturl()
    log.connection_string = ";".join(f"{name}={value}" for name, value in parts.items())
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
