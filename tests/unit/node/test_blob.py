"""Requests against a real HTTP server that misbehaves on purpose, and against Azurite."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from snakemake_executor_azurebatch.node.blob import BlobError, Container, Interrupted
from snakemake_executor_azurebatch.node.connection import proxy_for
from snakemake_executor_azurebatch.node.download import Wanted, download
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.limits import Limits, RetryPolicy

QUICK = RetryPolicy(attempts=3, first_wait_s=0.001, timeout_s=5, policy_grace_s=0)


@dataclass
class Answer:
    """What the server says once. ``cut``: it promises more than it sends. ``silent``: nothing, and does not hang up."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang_up: bool = False
    silent: bool = False


@dataclass
class Server:
    """Gives its answers in turn, the last one for ever."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is part of these tests."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.seen.append(f"{self.command} {self.path}")
            answer = server.next()
            if answer.silent:
                server.over.wait()
            if answer.hang_up or answer.silent:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) + answer.cut))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = answer.cut

        do_GET = do_PUT = _answer  # noqa: N815  http.server wants these names

        def log_message(self, *_args: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, args=[0.01])
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}/c?sv=1&sig=SECRET"
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def flaky(server: Server) -> Iterator[Container]:
    container = Container(server.url, QUICK)
    yield container
    container.close()


BUSY = Answer(503, headers={"Retry-After": "0", "x-ms-error-code": "ServerBusy"})


@pytest.mark.parametrize(
    "trouble",
    [
        BUSY,
        Answer(500),
        Answer(429, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        Answer(400, headers={"x-ms-error-code": "Md5Mismatch"}),
        Answer(200, b"hel", cut=True),
        Answer(200, b"hellO", headers={"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}),
        Answer(hang_up=True),
    ],
    ids=["busy", "error", "throttled", "damaged-up", "cut", "damaged-down", "hang-up"],
)
def test_trouble_that_passes_is_survived(server: Server, flaky: Container, trouble: Answer) -> None:
    server.answers = [trouble, trouble, Answer(200, b"hello")]
    assert flaky.get("a") == b"hello"
    assert len(server.seen) == 3


def test_a_body_is_sent_again_in_full(server: Server, flaky: Container) -> None:
    server.answers = [BUSY, Answer(201)]
    flaky.put("a", b"x" * 3_000_000)
    assert server.seen == ["PUT /c/a?sv=1&sig=SECRET"] * 2


def test_trouble_that_stays_ends_without_the_sas(server: Server, flaky: Container) -> None:
    server.answers = [BUSY]
    with pytest.raises(BlobError) as caught:
        flaky.get("dir/a")
    assert str(caught.value) == "GET dir/a: ServerBusy (HTTP 503)"
    assert len(server.seen) == QUICK.attempts
    server.answers = [Answer(hang_up=True)]
    with pytest.raises(BlobError, match=r"GET dir/a: no answer from 127\.0\.0\.1 \(\w+\)$"):
        flaky.get("dir/a")
    assert "SECRET" not in repr(flaky)
    assert flaky.redact("see sv=1&sig=SECRET") == "see <SAS>"


def test_who_persists_gives_up_only_when_the_time_is_over(server: Server, flaky: Container) -> None:
    server.answers = [BUSY] * 2 * QUICK.attempts + [Answer(201)]
    flaky.persist(600)
    flaky.put("a", b"1")
    assert len(server.seen) == 2 * QUICK.attempts + 1
    server.answers = [BUSY]
    flaky.persist(0.05)
    with pytest.raises(BlobError, match=r"^PUT a: ServerBusy \(HTTP 503\)$"):
        flaky.put("a", b"1")
    tries = len(server.seen) - 2 * QUICK.attempts - 1
    assert QUICK.attempts < tries < 20  # the pauses grow, whatever the server says of them
    with pytest.raises(BlobError):
        flaky.put("b", b"1")  # there was no good answer since
    assert len(server.seen) == 2 * QUICK.attempts + 1 + tries + QUICK.attempts


def test_a_refusal_is_final(server: Server, flaky: Container) -> None:
    server.answers = [Answer(404, headers={"x-ms-error-code": "BlobNotFound"})]
    with pytest.raises(BlobError, match="BlobNotFound") as caught:
        flaky.get("a")
    assert (caught.value.status, caught.value.code, len(server.seen)) == (404, "BlobNotFound", 1)


def test_a_connection_closed_while_idle_costs_no_attempt(server: Server) -> None:
    container = Container(server.url, RetryPolicy(attempts=1))
    server.answers = [Answer(200, b"1"), Answer(hang_up=True), Answer(200, b"2")]
    assert [container.get("a"), container.get("a")] == [b"1", b"2"]
    container.close()


def test_idle_connections_that_something_between_has_forgotten_cost_no_attempt(server: Server) -> None:
    container = Container(server.url, RetryPolicy(attempts=1, timeout_s=0.2))
    server.answers = [Answer(200, b"1")]
    idle = [container.connections.take()[0] for _ in range(4)]
    for connection in idle:
        connection.request("GET", "/c/a")
        connection.getresponse().read()
        container.connections.give(connection)
    server.answers = [Answer(silent=True), Answer(200, b"2")]

    assert container.get("b") == b"2"

    assert len(server.seen) == 4 + 2
    container.close()


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    server: Server, flaky: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [Answer(200, b"1")]
    flaky.get("a")
    used = flaky.connections.take()
    assert used[1]
    flaky.connections.give(used[0])
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 130)
    assert not flaky.connections.take()[1]


@pytest.mark.parametrize(
    "trouble",
    [Answer(hang_up=True), BUSY, Answer(200, b"hel", cut=True)],
    ids=["closed-while-idle", "busy", "cut"],
)
def test_what_was_asked_before_is_asked_again_where_no_good_answer_comes(
    server: Server, flaky: Container, trouble: Answer
) -> None:
    server.answers = [Answer(200, b"1"), trouble, Answer(200, b"2")]
    assert flaky.get("a") == b"1"

    assert flaky.ask("b").take() == b"2"

    assert server.seen[1].startswith("GET /c/b?")
    assert server.seen[1] == server.seen[2]


def test_a_blob_that_is_not_there_is_told_where_its_answer_is_awaited(server: Server, flaky: Container) -> None:
    server.answers = [Answer(404, headers={"x-ms-error-code": "BlobNotFound"}), Answer(200, b"2")]
    answer = flaky.ask("a")
    with pytest.raises(BlobError, match="BlobNotFound"):
        answer.take()
    assert flaky.ask("b").take() == b"2"


def test_a_server_that_cannot_be_reached_is_told_where_its_answer_is_awaited(server: Server) -> None:
    with serving() as gone:
        url = gone.url
    container = Container(url, RetryPolicy(attempts=1))
    answer = container.ask("a")
    with pytest.raises(BlobError, match="no answer from 127"):
        answer.take()
    container.close()


def test_a_403_of_a_young_access_policy_is_tried_again(server: Server) -> None:
    refusal = Answer(403, headers={"x-ms-error-code": "AuthorizationFailure"})
    container = Container(server.url + "&si=run", RetryPolicy(attempts=1, first_wait_s=0.001, policy_grace_s=600))
    server.answers = [refusal, refusal, refusal, Answer(200, b"1")]
    assert container.get("a") == b"1"
    container.close()
    impatient = Container(server.url + "&si=run", QUICK)
    server.answers = [refusal]
    with pytest.raises(BlobError, match="expired or been revoked"):
        impatient.get("a")
    impatient.close()


def test_nothing_new_is_started_once_stopping(server: Server) -> None:
    stopping = Event()
    stopping.set()
    with pytest.raises(Interrupted):
        Container(server.url, QUICK, stopping).get("a")
    assert server.seen == []


def test_a_download_survives_and_checks(server: Server, flaky: Container, tmp_path: Path) -> None:
    data = b"hello"
    md5 = hashlib.md5(data, usedforsecurity=False)
    headers = {"Content-MD5": base64.b64encode(md5.digest()).decode()}
    damaged = Answer(200, b"hellO", headers)
    server.answers = [BUSY, damaged, Answer(200, data, headers)]
    download(flaky, Wanted("a", "b", 5, md5.hexdigest()), str(tmp_path / "a"), Limits())
    assert (tmp_path / "a").read_bytes() == data


def test_a_full_disk_is_no_reason_to_ask_again(server: Server, flaky: Container, tmp_path: Path) -> None:
    server.answers = [Answer(200, b"x" * 5_000_000)]
    with pytest.raises(StageError, match=r"cannot write /dev/full: no space left on the node"):
        download(flaky, Wanted("a", "b", 5_000_000, "?"), "/dev/full", Limits())
    with pytest.raises(StageError, match="cannot write: No such file or directory"):
        download(flaky, Wanted("a", "b", 5_000_000, "?"), str(tmp_path / "none" / "a"), Limits())
    assert len(server.seen) == 2


@pytest.mark.parametrize("url", ["", "ftp://host/c", "c?sig=SECRET", "http://host:port/c?sig=SECRET"])
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(StageError) as caught:
        Container(url)
    assert "SECRET" not in str(caught.value)


def test_requests_go_through_the_proxy_of_the_environment_but_not_to_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = server.url.partition("/c?")[0].replace("//", "//me:pass%20word@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "spared.example")
    assert proxy_for("http", "127.0.0.1") is None
    assert proxy_for("http", "spared.example") is None
    container = Container("http://account.example/c?sig=SECRET", QUICK)
    server.answers = [Answer(200, b"1")]
    assert container.get("a") == b"1"
    assert server.seen == ["GET http://account.example:80/c/a?sig=SECRET"]
    container.close()
