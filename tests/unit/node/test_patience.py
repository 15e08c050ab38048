"""Blob storage that does not answer when the command has ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Product

from .harness import Site, products

#: Runs the stager with one attempt for each request, and a pause after it that no test could wait for.
DRIVER = """
import sys
sys.path.insert(0, {stager!r})
from stager import blob, limits, task
blob.RetryPolicy = lambda: limits.RetryPolicy(attempts=1, first_wait_s=600.0, longest_wait_s=600.0)
sys.exit(task.run_task())
"""


@pytest.fixture
def refused() -> Event:
    return Event()


@pytest.fixture
def busy(refused: Event) -> Iterator[str]:
    """The URL of a blob container where nothing can be stored; ``refused`` tells that it was tried."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            refused.set()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/c?sig=SECRET"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("script", "outputs", "code"),
    [("echo 1 > o", products("o"), 143), ("true", [], protocol.EXIT_STAGE_OUT), ("exit 4", [], 4)],
    ids=["outputs", "record", "streams"],
)
def test_a_signal_ends_the_waiting(
    site: Site, tmp_path: Path, busy: str, refused: Event, script: str, outputs: list[Product], code: int
) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER.format(stager=str(site.stager)))
    site.stager, site.tells_by_variable = driver, True
    site.extra_environment[protocol.ENV_WRITE_URL] = busy
    process = site.start(site.manifest(script, outputs=outputs))
    refused.wait()

    process.send_signal(signal.SIGTERM)
    result = site.finish(process)

    assert result.exit_code == code, result.stderr
    assert "no commit record: PUT tasks/t1/commit.json: Service Unavailable (HTTP 503)\n" in result.stderr
    assert "Service Unavailable (HTTP 503); trying again, for up to 30 minutes\n" in result.stderr
    assert "SECRET" not in result.stderr
