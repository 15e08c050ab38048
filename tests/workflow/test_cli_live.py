"""``status`` and ``logs --follow`` while a task runs: what is there now, and what comes."""

import json
import os
import pty
import re
import subprocess
import threading
from contextlib import contextmanager

import pytest

from tests.unit.emulator.process_support import wait_until
from tests.workflow.test_cli_looks import COMMAND, on_a_terminal, tool

#: Says a word, waits until it may go on, says another one.
SNAKEFILE = """
rule slow:
    output: "slow.txt"
    shell:
        "echo first; echo aside >&2; while [ ! -e {gate} ]; do sleep 0.1; done; "
        "echo last; echo done > {{output}}"
"""


@pytest.fixture
def running(workdir):
    """A run whose only task waits; what lets it go on."""
    gate = workdir.path.parent / "gate"
    workdir.write("Snakefile", SNAKEFILE.format(gate=gate))
    command = workdir.azurebatch("--azurebatch-pool-id", "live-pool")
    with subprocess.Popen(
        command, cwd=workdir.path, env=workdir.variables(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        said = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            wait_until(lambda: state(workdir, said)["running"] == 1, "the task does not run")
            yield lambda: (gate.touch(), process.wait(300), reader.join())
        finally:
            gate.touch()
            process.wait(300)
            reader.join()
        assert process.returncode == 0, "".join(said)


def state(workdir, said=()):
    """How many tasks are in which state; none is running before there is a Batch job."""
    if not (workdir.path / ".snakemake/azurebatch/workdir.id").exists():
        return {"running": 0}
    shown = tool(workdir, "status", "--json")
    assert shown.returncode == 0, f"{shown.stderr}\n{''.join(said)}"
    jobs = json.loads(shown.stdout)["jobs"]
    return jobs[0]["tasks"] if jobs else {"running": 0}


@contextmanager
def following(workdir, *arguments):
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=workdir.path, env=workdir.variables(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_a_task_that_runs_is_seen_and_followed_to_its_end(workdir, running):
    """One run for all of it: starting one takes longer than looking."""
    check_status(workdir)
    check_logs(workdir)
    with following(workdir, "logs", "slow", "--follow") as tail, on_screen(workdir) as (screen, process):
        assert tail.stdout.readline() == "first\n"
        shown = b""
        while b"have not ended" not in shown:
            shown += os.read(screen, 65536)
        running()
        rest, aside = tail.communicate(timeout=120)
        assert (tail.returncode, rest.splitlines()[-1]) == (0, "last")
        assert "aside" in aside
        check_screen(shown + until_closed(screen), process.wait(120))


def check_status(workdir):
    now = json.loads(tool(workdir, "status", "--json").stdout)
    (task,) = now["tasks"]
    assert (task["task"].startswith("slow-"), task["state"], bool(task["node"])) == (True, "running", True)
    assert now["pools"][0]["nodes"]
    narrow = tool(workdir, "status", COLUMNS="40")
    assert max(map(len, narrow.stdout.splitlines())) <= 40
    assert "1 running" in narrow.stdout
    status, shown = on_a_terminal(workdir, "status", "--once")
    assert (status, "1 running" in shown) == (0, True)


def check_logs(workdir):
    wait_until(lambda: "first" in tool(workdir, "logs", "slow").stdout, "the task has not begun to write")
    shown = json.loads(tool(workdir, "logs", "slow", "--json").stdout)
    assert (shown["state"], shown["stdout.txt"]) == ("running", "first\n")
    assert "aside" in shown["stderr.txt"]


@contextmanager
def on_screen(workdir):
    """``status`` on a terminal: it goes on until nothing is active any more."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "status", "--every", "1"], cwd=workdir.path, env=workdir.variables(), stdin=follower,
        stdout=follower, stderr=follower,
    ) as process:  # fmt: skip
        os.close(follower)
        try:
            yield leader, process
        finally:
            process.kill()
    os.close(leader)


def until_closed(screen):
    shown = b""
    try:
        while piece := os.read(screen, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    return shown


def check_screen(shown, exit_code):
    """Lines were replaced in place, up to the end of the Batch job."""
    text = shown.decode()
    assert (exit_code, "1 running" in text, "\x1b[1A" in text) == (0, True, True)
    assert re.search(r"Batch job \S+: completed", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", ""))
