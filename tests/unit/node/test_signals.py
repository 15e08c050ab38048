"""A task that is told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Manifest
from snakemake_executor_azurebatch.node.signals import Signals

from .harness import Result, Site, products


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_is_told_and_logs_come_back(
    site: Site, tmp_path: Path, started: Callable[[], str], number: signal.Signals
) -> None:
    script = f"""
    trap 'echo told >> a.log; exit 3' TERM INT
    echo begun > a.log; echo now > {tmp_path}/started
    while :; do sleep 0.05; done
    """
    process = site.start(site.manifest(script, logs=products("a.log"), outputs=products("out")))
    started()
    process.send_signal(number)
    result = site.finish(process)
    record = site.record()
    assert (result.exit_code, record.exit_code, record.error_class) == (3, 3, protocol.ERROR_COMMAND), result.stderr
    assert record.error_message == f"told to stop by signal {int(number)}"
    assert [site.blob(log.blob) for log in record.logs] == [b"begun\ntold\n"]
    assert {stream.path for stream in record.streams} == {"stdout.txt", "stderr.txt"}


def test_all_that_the_command_started_is_told(site: Site, tmp_path: Path, started: Callable[[], str]) -> None:
    process = site.start(site.manifest(f"sleep 600 & echo $! > {tmp_path}/started; wait"))
    child = int(started())
    process.send_signal(signal.SIGTERM)
    assert site.finish(process).exit_code == 128 + 15
    with pytest.raises(ProcessLookupError):
        wait_gone(child)


def test_a_stopped_command_that_exits_with_0_is_no_success(
    site: Site, tmp_path: Path, started: Callable[[], str]
) -> None:
    script = f"trap 'exit 0' TERM; touch out; echo > {tmp_path}/started; while :; do sleep 0.05; done"
    process = site.start(site.manifest(script, outputs=products("out")))
    started()
    process.send_signal(signal.SIGTERM)
    assert site.finish(process).exit_code == 128 + 15
    assert (site.record().exit_code, site.record().outputs) == (0, [])


def test_a_command_that_does_not_listen_is_killed() -> None:
    signals = Signals(grace_s=0.05)

    def start() -> subprocess.Popen[bytes]:
        signals.received = signal.SIGTERM  # as if it had come while the command was starting
        deaf = "trap '' TERM; echo; sleep 600"
        process = subprocess.Popen(["bash", "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
        return process

    assert signals.run(start) == -signal.SIGKILL


def test_what_bash_does_not_wait_for_is_waited_for(site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    script = f"echo text > >(cat {tmp_path}/go; cat > out) & wait $!; (sleep 0.1; echo > {tmp_path}/go) &"
    result = site.run(script, outputs=products("out"))
    assert result.exit_code == 0, result.stderr
    assert site.outputs() == {"out": b"text\n"}


def test_what_stays_running_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    signals = Signals(linger_s=0.05)
    started: list[int] = []

    def start() -> subprocess.Popen[bytes]:
        script = "trap '' TERM HUP; sleep 600 >/dev/null & echo $!"
        process = subprocess.Popen(["bash", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            started.append(int(process.stdout.readline()))
        return process

    assert signals.run(start) == 0
    assert capsys.readouterr().err == "[stage] killing what the command left running\n"
    with pytest.raises(ProcessLookupError):
        wait_gone(started[0])


ORPHANS = """
for i in 1 2 3 4 5; do (true &); done
for i in $(seq 100); do
  left=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
  [ $left = 0 ] && break
  sleep 0.1
done
echo $left > left; [ $$ != 1 ] && exit 7
"""


def test_the_first_process_of_a_container_leaves_no_zombies(site: Site, tmp_path: Path, python: str) -> None:
    alone = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user cannot make a space of process ids")
    first = tmp_path / "first"
    first.write_text(f'#!/bin/sh\nexec {" ".join(alone)} {python} "$@"\n')
    first.chmod(0o755)
    site.python = str(first)
    result = site.run(ORPHANS, logs=products("left"))
    assert result.exit_code == 7, result.stderr
    assert [site.blob(log.blob) for log in site.record().logs] == [b"0\n"]


@contextmanager
def troubled(manifest: Manifest, trouble: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a blob container that has a manifest and answers all else in its own way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "manifest" in self.path:
                body = manifest.to_json().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:
                trouble(self)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/c?sig=x"
        server.shutdown()
        thread.join()


def test_a_signal_while_staging_in_leaves_a_record(site: Site) -> None:
    asked = Event()

    def unavailable(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        request.send_response(503)
        request.send_header("Retry-After", "100")
        request.send_header("Content-Length", "0")
        request.end_headers()

    manifest = site.manifest("true", inputs=[site.file("a", b"1"), site.file("b", b"2")])
    with troubled(manifest, unavailable) as url:
        result = stopped(site, manifest, url, asked)
    check_stopped_in_stage_in(site, result)


@pytest.mark.parametrize("names", [["a"], ["a", "b"]], ids=["one", "several"])
def test_a_transfer_that_does_not_end_is_left_behind(site: Site, tmp_path: Path, names: list[str]) -> None:
    asked, over = Event(), Event()

    def silent(_request: BaseHTTPRequestHandler) -> None:
        asked.set()
        over.wait()

    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path.insert(0, {str(site.stager)!r}); from stager import signals, task;"
        "task.Signals = lambda: signals.Signals(leave_s=0.05); sys.exit(task.run_task())"
    )
    site.stager = driver
    manifest = site.manifest("true", inputs=[site.file(name, b"1") for name in names], logs=products("log"))
    with troubled(manifest, silent) as url:
        result = stopped(site, manifest, url, asked)
        over.set()
    check_stopped_in_stage_in(site, result)
    assert {stream.path for stream in site.record().streams} == {"stdout.txt", "stderr.txt"}


def stopped(site: Site, manifest: Manifest, url: str, asked: Event) -> Result:
    """The task, told to stop when it has asked for an input."""
    site.extra_environment = {protocol.ENV_READ_URL: url}
    process = site.start(manifest)
    asked.wait()
    process.send_signal(signal.SIGTERM)
    return site.finish(process)


def check_stopped_in_stage_in(site: Site, result: Result) -> None:
    record = site.record()
    assert result.exit_code == 128 + 15, result.stderr
    assert (record.phase, record.error_class, record.exit_code) == ("stage_in", protocol.ERROR_STAGE_IN, None)
    assert record.error_message == "stopped by signal 15 during stage_in"


def wait_gone(pid: int) -> None:
    """Raise ProcessLookupError as soon as the process is gone (another process reaps it)."""
    while True:
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            raise ProcessLookupError(pid)
