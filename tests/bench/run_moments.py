"""How soon a run does something: from a task's end to its report and to what comes next, and from Ctrl-C to the end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from snakemake_executor_azurebatch.emulator.environment import STORAGE_KEY
from snakemake_executor_azurebatch.run.records import FILE, read_records
from tests.bench.measuring import table
from tests.bench.run_sides import INTERVAL_S, Load, Service, azurebatch, environment, through_azurebatch, workdir
from tests.workflow.hanging import hanging

GOAL_S = INTERVAL_S + 2
CHAINS = """
N = int(config["jobs"])

rule all:
    input: expand("second/{n}.txt", n=range(N))

rule second:
    input: "first/{n}.txt"
    output: "second/{n}.txt"
    shell: "cp {input} {output}"

rule first:
    output: "first/{n}.txt"
    shell: "echo {wildcards.n} > {output}"
"""


def latencies(service: Service, folder: Path, chains: int) -> None:
    """Chains of two jobs, whose first ones end at scattered times."""
    folder.mkdir()
    (folder / "Snakefile").write_text(CHAINS)
    through_azurebatch(service, folder, Load(chains))
    rows = {
        (row["rule"], row["members"][0]["wildcards"]["n"]): row
        for row in read_records(folder / ".snakemake/azurebatch" / FILE)
    }
    firsts = [(row, rows["second", n]) for (rule, n), row in rows.items() if rule == "first"]
    reported = [_between(first["ended_at"], first["recorded_at"]) for first, _ in firsts]
    followed = [_between(first["ended_at"], second["submitted_at"]) for first, second in firsts]
    head = ["", "median, s", "longest, s", f"longest / goal of {GOAL_S:g} s"]
    told = [("to its report", reported), ("to Snakemake's next submission", followed)]
    table(
        f"From a task's end, {chains} chains of two jobs, interval {INTERVAL_S} s",
        head,
        [[what, sorted(all_s)[len(all_s) // 2], max(all_s), max(all_s) / GOAL_S] for what, all_s in told],
    )


def _between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def interrupts(service: Service, folder: Path, jobs: int) -> None:
    """Ctrl-C while tasks run: where all is well, where a service hangs, and twice."""
    rows: list[list[str | float]] = []
    for what, which, times in (
        ("all is well", (), 1),
        ("Azure Batch hangs", ("batch",), 1),
        ("blob storage hangs", ("blob",), 1),
        ("both hang", ("batch", "blob"), 1),
        ("both hang, Ctrl-C twice", ("batch", "blob"), 2),
    ):
        took_s, status = _interrupted(service, workdir(folder / str(len(rows))), jobs, which, times)
        rows.append([what, took_s, str(status)])
    table(f"From Ctrl-C to the end, {jobs} jobs", ["", "seconds", "exit status"], rows)


def _interrupted(service: Service, folder: Path, jobs: int, which: Sequence[str], times: int) -> tuple[float, int]:
    batch_url, blob_url = service.running.batch_url, str(service.running.blob_url)
    with hanging(_port(batch_url)) as batch, hanging(_port(blob_url)) as blob:
        variables = {
            "STORAGE_ACCOUNT_NAME": blob_url.replace(str(_port(blob_url)), str(blob.port)),
            "STORAGE_ACCOUNT_KEY": STORAGE_KEY,
            "STORAGE_ACCOUNT_CONNECTION_STRING": "",
        }
        url = batch_url.replace(str(_port(batch_url)), str(batch.port))
        call, before = azurebatch(service, Load(jobs), url), len(service.requests())
        with (folder.parent / "log").open("ab") as log:
            process = subprocess.Popen(
                call, cwd=folder, env={**environment(service), **variables}, stdout=log, stderr=log
            )
        while sum(int(str(line.get("items", 0))) for line in service.requests()[before:]) < jobs:
            if process.poll() is not None:
                raise SystemExit((folder.parent / "log").read_text())
            time.sleep(0.5)
        for name, proxy in (("batch", batch), ("blob", blob)):
            if name in which:
                proxy.hang()
        began_s = time.monotonic()
        for number in range(times):
            if number:
                time.sleep(0.5)  # a person's second Ctrl-C
            os.kill(process.pid, signal.SIGINT)
        status = process.wait()
        return time.monotonic() - began_s, status


def _port(url: str) -> int:
    return int(url.split("://")[1].split("/", maxsplit=1)[0].rpartition(":")[2])
