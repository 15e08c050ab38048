"""The service as a process: how it says that it is ready, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY

from .conftest import PATIENCE_S, pool, task, wait_until


@pytest.fixture
def start(tmp_path):
    """Start a service; answers the process and where its ready file will be."""
    started = []

    def begin(*options: str, **more) -> tuple[subprocess.Popen, object]:
        ready = tmp_path / f"ready-{len(started)}.json"
        command = [sys.executable, "-m", "snakemake_executor_azurebatch.emulator", "--no-blobs"]
        arguments = ["--state-dir", str(tmp_path / "state"), "--ready-file", str(ready), *options]
        process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, start_new_session=True, **more)
        started.append(process)
        return process, ready

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _facts(process, ready):
    wait_until(lambda: ready.exists() or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    return json.loads(ready.read_text())


def test_ready_file_and_end(start):
    process, ready = start("--account", "mine")
    facts = _facts(process, ready)
    assert facts["pid"] == process.pid
    assert (facts["account"], facts["blob_url"]) == ("mine", None)
    assert facts["batch_url"].startswith("http://127.0.0.1:")
    assert facts["started"].endswith("Z")
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not ready.exists()


def test_a_taken_port(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, ready = start("--port", str(port))
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert len(errors.splitlines()) == 1
    assert str(port) in errors.decode()
    assert not ready.exists()


def test_the_lifeline(start):
    process, ready = start("--lifeline", stdin=subprocess.PIPE)
    _facts(process, ready)
    process.stdin.close()
    process.stdin = None
    assert process.wait(PATIENCE_S) == 0


def test_without_a_lifeline_stdin_does_not_matter(start):
    process, ready = start(stdin=subprocess.DEVNULL)
    facts = _facts(process, ready)
    with BatchClient(facts["batch_url"], AzureNamedKeyCredential("localbatch", DEVELOPMENT_KEY)) as client:
        assert list(client.list_pools()) == []


def test_the_end_of_the_service_is_the_end_of_its_tasks(start, tmp_path):
    process, ready = start()
    facts = _facts(process, ready)
    pid_file = tmp_path / "pid"
    with BatchClient(facts["batch_url"], AzureNamedKeyCredential("localbatch", DEVELOPMENT_KEY)) as client:
        client.create_pool(pool("p"))
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.create_task("j", task("t", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600"))
        wait_until(pid_file.exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_what_a_former_service_left_of_its_nodes_is_removed(start, tmp_path):
    left = tmp_path / "state" / "nodes" / "p" / "n" / "locked"
    left.mkdir(parents=True)
    (left / "file").touch()
    left.chmod(0o500)
    _facts(*start())
    assert not left.parent.exists()


def test_a_second_service_leaves_the_nodes_of_the_first_alone(start, tmp_path):
    _facts(*start())
    node = tmp_path / "state" / "nodes" / "p" / "n"
    node.mkdir(parents=True)
    _facts(*start())
    assert node.exists()
