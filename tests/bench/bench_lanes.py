"""How quick the lanes are: ``python -m tests.bench.bench_lanes``, from the repository's root.

Jobs that only ``echo`` go through one node of two slots of one local service: as bare tasks that the Azure SDK
submits, through the shell lane (moved by the stager, and by Azure Batch), and through the Snakemake lane. What counts
are the ratios: everything is on this machine, the controller, the service and Azurite too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from azure.batch import models

from snakemake_executor_azurebatch.emulator.testing import LocalBatch, running
from tests.bench.measuring import median, table

SLOTS = 2
POOL = "bench-lanes"
#: The image is noted only: tasks run with the programs of this machine.
SNAKEFILE = """
rule all:
    input: expand("out/{n}.txt", n=range(int(config["jobs"])))

rule echo:
    output: "out/{n}.txt"
    shell: "echo {wildcards.n} > {output}"
"""


@dataclass(frozen=True)
class Passed:
    """Jobs that went through the node."""

    jobs: int
    node_s: float  #: from the start of the first task to the end of the last
    task_s: float  #: of a task, the mean
    run_s: float  #: of the whole run, the controller's start and end included
    notice_s: float  #: from the end of the last task to the end of the controller, or of who has waited

    @property
    def per_second(self) -> float:
        return self.jobs / self.node_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="of the shell lane, and bare tasks (default: 100)")
    parser.add_argument("--slow-jobs", type=int, default=20, help="of the Snakemake lane (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement, in turn (default: 3)")
    parser.add_argument("--small-only", action="store_true", help="only how quick a small run is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running(Path(folder, "service")) as service:
        bench = Bench(service, Path(folder))
        bench.make_pool()
        if not options.small_only:
            _through_the_node(bench, options)
        _small_runs(bench, options.rounds)


def _through_the_node(bench: Bench, options: argparse.Namespace) -> None:
    ways: dict[str, Callable[[], Passed]] = {
        "bare tasks, by the SDK": lambda: bench.bare(options.jobs),
        "shell lane, the stager": lambda: bench.lane(options.jobs, "shell", "stager"),
        "shell lane, Azure Batch": lambda: bench.lane(options.jobs, "shell", "batch"),
        "Snakemake lane": lambda: bench.lane(options.slow_jobs, "snakemake", "auto"),
    }
    found: dict[str, list[Passed]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way, run in ways.items():
            found[way].append(run())
            print(f"  {number} {way}: {found[way][-1]}", flush=True)
    bare, slow = found["bare tasks, by the SDK"], found["Snakemake lane"]
    rows: list[list[str | float]] = [
        [
            way,
            median([one.per_second for one in these]),
            _ratio(these, slow, lambda one: one.per_second),
            median([one.task_s for one in these]),
            median([a.task_s - b.task_s for a, b in zip(these, bare, strict=True)]),
            median([one.run_s / one.jobs for one in these]),
        ]
        for way, these in found.items()
    ]
    head = ["", "jobs per second", "to the Snakemake lane", "a task, s", "more than bare, s", "whole run, s per job"]
    table(f"One node of {SLOTS} slots", head, rows)


def _small_runs(bench: Bench, rounds: int) -> None:
    """One job, as somebody has it who tries something: with the defaults."""
    these = [bench.lane(1, "shell", "stager", quick=False) for _ in range(rounds)]
    row: list[str | float] = ["one job", median([one.run_s for one in these]), median([one.notice_s for one in these])]
    table("A small run, with the default settings", ["", "whole run, s", "after its task, s"], [row])


def _ratio(these: Sequence[Passed], those: Sequence[Passed], what: Callable[[Passed], float]) -> float:
    return median([what(a) / what(b) for a, b in zip(these, those, strict=True)])


@dataclass
class Bench:
    """One pool, and what runs on it."""

    service: LocalBatch
    folder: Path
    count: int = 0

    def make_pool(self) -> None:
        """One node, for all runs."""
        image = models.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204")
        machine = models.VirtualMachineConfiguration(
            image_reference=image,
            node_agent_sku_id="batch.node.ubuntu 22.04",
            container_configuration=models.BatchContainerConfiguration(type=models.ContainerType.DOCKER_COMPATIBLE),
        )
        with self.service.client() as client:
            client.create_pool(
                models.BatchPoolCreateOptions(
                    id=POOL,
                    vm_size="Standard_D2s_v5",
                    virtual_machine_configuration=machine,
                    target_dedicated_nodes=1,
                    task_slots_per_node=SLOTS,
                )
            )
            while not any(node.state == "idle" for node in client.list_nodes(POOL)):
                time.sleep(0.1)

    def bare(self, jobs: int) -> Passed:
        """The same commands as tasks, with nothing around them."""
        self.count += 1
        job_id, began = f"bare-{self.count}", time.monotonic()
        tasks = [
            models.BatchTaskCreateOptions(
                id=str(number),
                command_line=f"/bin/sh -c 'echo {number} > out.txt'",
                container_settings=models.BatchTaskContainerSettings(image_name="bare"),
            )
            for number in range(jobs)
        ]
        with self.service.client() as client:
            client.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=POOL)))
            client.create_tasks(job_id, tasks)
            while client.get_job_task_counts(job_id).task_counts.completed < jobs:
                time.sleep(0.1)
        return self._passed(job_id, time.monotonic() - began, time.time())

    def lane(self, jobs: int, lane: str, staging: str, *, quick: bool = True) -> Passed:
        """The commands as jobs of a workflow."""
        self.count += 1
        work = self.folder / f"work-{self.count}"
        work.mkdir()
        (work / "Snakefile").write_text(SNAKEFILE)
        url = self.service.service.batch_url
        settings = {"lane": lane, "staging": staging, "pool-id": POOL, "account-url": url}
        settings |= {"poll-interval": "0.5"} if quick else {}
        command = [
            *(sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--quiet", "all", "--jobs", str(jobs)),
            *("--max-jobs-per-timespan", "1000/1s", "--config", f"jobs={jobs}"),
            *(word for name, value in settings.items() for word in (f"--azurebatch-{name}", value)),
        ]
        environment = {**os.environ, **self.service.environment}
        with self.service.client() as client:
            before = {job.id for job in client.list_jobs()}
        began = time.monotonic()
        subprocess.run(command, cwd=work, env=environment, check=True)
        run_s, ended = time.monotonic() - began, time.time()
        if sorted(path.read_text() for path in work.glob("out/*")) != sorted(f"{n}\n" for n in range(jobs)):
            raise SystemExit("not all jobs made what they should")
        with self.service.client() as client:
            (job_id,) = {str(job.id) for job in client.list_jobs()} - before
        return self._passed(job_id, run_s, ended)

    def _passed(self, job_id: str, run_s: float, ended: float) -> Passed:
        with self.service.client() as client:
            infos = [info for task in client.list_tasks(job_id) if (info := task.execution_info)]
        if any(info.exit_code != 0 for info in infos):
            raise SystemExit(f"a task of {job_id} failed")
        starts = [info.start_time.timestamp() for info in infos if info.start_time]
        ends = [info.end_time.timestamp() for info in infos if info.end_time]
        return Passed(
            len(infos),
            max(ends) - min(starts),
            statistics.mean(end - start for start, end in zip(starts, ends, strict=True)),
            run_s,
            ended - max(ends),
        )


if __name__ == "__main__":
    main()
