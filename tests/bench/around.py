"""What a task costs around the user's command: here with staging, and with a stock remote call of Snakemake without.

The job is run once through each, so that the manifests and the call are the real ones; then both are repeated in turn.
The command notes when it began and ended. The stock call finds its files in place; here inputs and sources come from
blob storage, or the node's cache, and outputs go there.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator.environment import STORAGE_KEY
from snakemake_executor_azurebatch.emulator.testing import LocalBatch
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.node.protocol import CommitRecord, Manifest, manifest_blob, record_blob
from snakemake_executor_azurebatch.staging.bundle import build_stager
from tests.bench.measuring import median, table
from tests.told import manifests
from tests.unit.node.harness import Site

INPUTS = 10
SNAKEFILE = f"""
INPUTS = expand("in/{{n}}.txt", n=range({INPUTS}))

rule all:
    input: "rendered.txt", "run.txt"

rule rendered:
    input: INPUTS
    output: "rendered.txt"
    shell: "s=$EPOCHREALTIME; cat {{input}} > /dev/null; echo $s $EPOCHREALTIME > {{output}}"

rule run:
    input: INPUTS
    output: "run.txt"
    run:
        import time
        began = time.time()
        for path in input:
            open(path).read()
        with open(output[0], "w") as out:
            out.write(f"{{began}} {{time.time()}}")
"""

#: An executor plugin that calls Snakemake as any remote executor does that leaves the call as it is.
STOCK = """
import json, os, subprocess
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)

class Executor(RemoteExecutor):
    def run_job(self, job):
        call = self.format_job_exec(job)
        with open(os.environ["STOCK_CALLS"], "a") as calls:
            calls.write(json.dumps([job.rule.name, call]) + "\\n")
        subprocess.run(["bash", "-c", call], check=True)
        self.report_job_submission(SubmittedJobInfo(job))

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            self.report_job_success(info)
            if False:
                yield info

    def cancel_jobs(self, active_jobs):
        pass
"""

RULES = ("rendered", "run")

#: Seconds before and after the command, together; processor time, the command's included (next to none).
Around = tuple[float, float]


def measure_overhead(folder: Path, service: LocalBatch, rounds: int) -> None:
    """Measure and print."""
    work = folder / "work"
    (work / "in").mkdir(parents=True)
    (work / "Snakefile").write_text(SNAKEFILE)
    for number in range(INPUTS):
        (work / f"in/{number}.txt").write_text(f"{number}\n" * 1000)
    ours, calls = _manifests(work, service), _calls(folder, work)
    node = _node(folder, service, work)
    rows: list[list[str | float]] = []
    for rule in RULES:
        here: list[Around] = []
        there: list[Around] = []
        _task(node, ours[rule])  # what only a node's first task has to do
        for number in range(rounds):
            here.append(_task(node, ours[rule]))
            there.append(_stock(work, calls[rule], rule))
            print(f"  {rule:<9} {number}: {here[-1]}, stock {there[-1]}", flush=True)
        rows.append([f"{ours[rule].command.kind}: {rule}", *_compared(here, there)])
    head = ["lane: rule", "task, s", "stock call, s", "ratio", "task, processor s", "stock, processor s", "ratio"]
    table(f"Around the command, with {INPUTS} inputs of 4 KiB", head, rows)


def _compared(here: list[Around], there: list[Around]) -> Iterator[float]:
    """Medians and the median of the ratios, of the wall clock's seconds and of processor time."""
    for field in (0, 1):
        yield median([one[field] for one in here])
        yield median([one[field] for one in there])
        yield median([a[field] / b[field] for a, b in zip(here, there, strict=True)])


def _manifests(work: Path, service: LocalBatch) -> dict[str, Manifest]:
    """Run the workflow on the local service; the manifests of its tasks."""
    command = [
        *(sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--jobs", "2", "--quiet", "all"),
        *("--azurebatch-poll-interval", "0.3", "--azurebatch-task-slots-per-node", "2", "--keep-incomplete"),
    ]
    environment = {**os.environ, **service.environment}
    run = subprocess.run(command, cwd=work, env=environment, check=False)
    with service.client() as batch, service.blob_service() as blobs:
        told = manifests(batch, blobs.get_container_client(container_name(str(work))), work)
        found = {manifest.outputs[0].path.removesuffix(".txt"): manifest for manifest in told}
    if run.returncode or set(found) != set(RULES):
        raise SystemExit(f"the workflow on the local service ended with {run.returncode}, manifests of {list(found)}")
    return found


def _calls(folder: Path, work: Path) -> dict[str, str]:
    """Run the workflow with the stock executor; the calls that it made."""
    package = folder / "snakemake_executor_plugin_stock"
    package.mkdir()
    (package / "__init__.py").write_text(STOCK)
    calls = folder / "calls.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(folder), "STOCK_CALLS": str(calls)}
    command = [sys.executable, "-m", "snakemake", "--executor", "stock", "--jobs", "1", "--forceall", "--quiet", "all"]
    subprocess.run(command, cwd=work, env=environment, check=True)
    found = dict(json.loads(line) for line in calls.read_text().splitlines())
    for call in found.values():  # it waits for a folder that the controller has while it lives
        for waited_for in re.findall(r"'([^']+/\.snakemake/tmp\.\w+)'", call):
            Path(waited_for).mkdir(exist_ok=True)
    return found


def _node(folder: Path, service: LocalBatch, work: Path) -> Site:
    """A node that is not the one that the workflow ran on."""
    shared = folder / "shared"
    shared.mkdir()
    stager = folder / "stager.pyz"
    stager.write_bytes(build_stager())
    container = ContainerClient(service.service.blob_url, container_name(str(work)), credential=STORAGE_KEY)
    return Site(container, STORAGE_KEY, folder, stager, extra_environment={"AZ_BATCH_NODE_SHARED_DIR": str(shared)})


def _task(node: Site, manifest: Manifest) -> Around:
    """Run a task."""
    site = replace(node, task=manifest.task_id, task_dir=node.task_dir / "task")
    site.wd.mkdir(parents=True)
    site.upload(manifest_blob(manifest.destination), manifest.to_json().encode())
    environment = {**os.environ, **site.environment(), "SMK_STAGE_MANIFEST": manifest_blob(manifest.destination)}
    began_s, cpu_s = time.time(), _cpu_s()
    with (site.task_dir / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, str(site.stager)], cwd=site.wd, env=environment, stdout=log, stderr=log, check=False
        )
    ended_s, cpu_s = time.time(), _cpu_s() - cpu_s
    if done.returncode:
        raise SystemExit((site.task_dir / "log").read_text())
    record = CommitRecord.from_json(site.blob(record_blob(manifest.destination)).decode())
    noted = site.blob(record.outputs[0].blob).decode()
    shutil.rmtree(site.task_dir)
    return _around(began_s, ended_s, noted, cpu_s)


def _stock(work: Path, call: str, rule: str) -> Around:
    """Make the stock call."""
    began_s, cpu_s = time.time(), _cpu_s()
    subprocess.run(["bash", "-c", call], cwd=work, check=True, capture_output=True)
    ended_s, cpu_s = time.time(), _cpu_s() - cpu_s
    return _around(began_s, ended_s, (work / f"{rule}.txt").read_text(), cpu_s)


def _around(began_s: float, ended_s: float, noted: str, cpu_s: float) -> Around:
    command_began_s, command_ended_s = map(float, noted.split())
    return round(command_began_s - began_s + ended_s - command_ended_s, 3), round(cpu_s, 3)


def _cpu_s() -> float:
    """Processor time of all children so far, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
