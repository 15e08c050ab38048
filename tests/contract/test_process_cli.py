"""Clock, faults and log of a real service, by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.emulator.service import StartOptions
from snakemake_executor_azurebatch.emulator.testing import running

from .conftest import PATIENCE_S, wait_until

COMMAND = str(Path(sys.executable).with_name("snakemake-azurebatch"))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cli"), StartOptions(with_blobs=False)) as found:
        yield found


@pytest.fixture
def call(local):
    def call(*arguments: str, status: int = 0) -> str:
        options = ["--state-dir", str(local.service.state_dir)]
        done = CliRunner().invoke(app, ["emulator", *arguments, *options], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.stderr

    return call


def test_faults_by_hand(call):
    added = call("fault", "add", "latency", "--seconds", "2m", "--route", "/jobs/*", "--count", "3")
    assert added == "Fault 1 is in force: latency, route /jobs/*, rate 1.0, count 3, seconds 120.0\n"
    call("fault", "add", "error", "--route", "/none")
    assert call("fault", "list").splitlines()[1] == "2: error, route /none, rate 1.0"
    call("fault", "clear", "1")
    assert call("fault", "list") == "2: error, route /none, rate 1.0\n"
    call("fault", "clear")
    assert call("fault", "list") == "No faults are in force.\n"


def test_wrong_faults_are_told(call):
    assert "The local service refused: kind is one of latency" in call("fault", "add", "flood", status=1)
    assert "there is no such node" in call("fault", "add", "preempt", status=1)
    assert "is not a time such as 90, 5m" in call("fault", "add", "latency", "--seconds", "soon", status=2)


def test_the_clock_by_hand(call):
    assert call("clock").endswith("Z (speed 1)\n")
    assert "(speed 5, wrong by 3600 s)" in call("clock", "--speed", "5", "--skew", "1h")
    assert "refused: the service's clock does not go back" in call("clock", "--advance=-5", status=1)
    assert "(speed 1)" in call("clock", "--speed", "1", "--skew", "0", "--advance", "1d")


def test_the_log_and_its_summary(call, local):
    with local.client(retry_total=0) as client:
        for _ in range(5):
            list(client.list_pools())
        local.fault("reset", route="/jobs")
        with pytest.raises(Exception, match="Connection aborted"):
            list(client.list_jobs())
        local.clear_faults()
    lines = call("log", "--last", "2").splitlines()
    assert " GET /jobs  " in lines[0]
    assert "  cut  " in lines[0]
    shown = call("log", "--summary")
    counted = next(line for line in shown.splitlines() if "GET /pools" in line)
    assert counted.split()[:5] == ["GET", "/pools", "200:", "5", "5"]


def test_following_the_log(local):
    process = subprocess.Popen(
        [COMMAND, "emulator", "log", "--follow", "--state-dir", str(local.service.state_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with local.client() as client:
        wait_until(lambda: list(client.list_jobs()) == [] and "GET /jobs" in process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)


def test_status_tells_no_keys(call):
    facts = json.loads(call("status", "--json"))
    assert facts["ca_file"] == ""
    assert "key" not in facts
