"""Ctrl-C: within seconds nothing of ours runs any more, and the message says what was cancelled."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SLEEPERS = """
rule all:
    input: expand("{i}.txt", i=range(6))

rule sleeper:
    output: "{i}.txt"
    shell: "echo {wildcards.i} >> ../started; exec sleep 600"
"""

LIMIT_S = 15


def started_by(marker: str) -> list[str]:
    """Command lines of processes that carry the marker in their environment or command line."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                command = (process / "cmdline").read_bytes()
                text = command + (process / "environ").read_bytes()
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # ended meanwhile
            if marker.encode() in text and state != "Z":
                found.append(command.replace(b"\0", b" ").decode())
    return found


def test_ctrl_c_leaves_nothing_behind(workdir):
    workdir.write("Snakefile", SLEEPERS)
    command = [
        *(sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--azurebatch-emulator", "--jobs", "10"),
        *("--azurebatch-task-slots-per-node", "4", "--azurebatch-poll-interval", "0.3", "--nocolor"),
    ]
    marker = f"{workdir.path}/.snakemake/azurebatch"
    environment = {k: v for k, v in workdir.variables().items() if not k.startswith(("BATCH", "STORAGE", "AZURE"))}
    environment["SNAKEMAKE_AZUREBATCH_EMULATOR_DIR"] = str(workdir.path / "none")
    running = subprocess.Popen(
        command,
        cwd=workdir.path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not any("sleep 600" in line for line in started_by(marker)):
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.2)

    began = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=60)
    took_s = time.monotonic() - began

    assert running.returncode == 1, text
    assert "Cancelling 6 unfinished jobs on Azure Batch." in text
    assert "Traceback" not in text
    assert took_s < LIMIT_S, text
    assert started_by(marker) == []
    assert not list(workdir.path.glob("*.txt"))
