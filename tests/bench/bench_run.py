"""What runs cost, and how quick they are: ``python -m tests.bench.bench_run``, from the repository's root.

Everything runs against local services whose tasks are simulated (``tests.bench.stand_in``): what counts is the
controller, and what it asks of Azure Batch. The parts:

    requests   many short jobs and one that gathers: requests to Batch, by the service's log; and the same jobs through
               snakemake-executor-plugin-azure-batch 0.3.0, with the same interval
    scale      the controller's processor time and memory, and what an executor costs that completes every job at once
    latency    from a task's end to its report, and to Snakemake's next submission
    interrupt  from Ctrl-C to the end
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measuring import Measured, median, table
from tests.bench.run_moments import interrupts, latencies
from tests.bench.run_sides import (
    INTERVAL_S,
    Load,
    Service,
    by_route,
    simulating,
    through_azurebatch,
    through_instant,
    through_peer,
    workdir,
)
from tests.bench.timed_snakemake import choice_s

PARTS = ("requests", "scale", "latency", "interrupt")
REQUESTS_GOAL, CPU_GOAL, MEMORY_GOAL_MIB = 100, 0.2, 300


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    # In the background of a shell it is ignored, and so it would be by all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        # Modules are compiled once and not with each run, as where an installer has done it.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        if "requests" in options.parts:
            peer_jobs = options.jobs if options.peer_jobs is None else options.peer_jobs
            _requests(folder / "requests", options.jobs, peer_jobs)
        if "scale" in options.parts:
            _scale(folder / "scale", options.sizes, options.rounds)
        if "latency" in options.parts:
            with simulating(folder / "latency", "2-12") as service:
                latencies(service, folder / "latency/work", options.chains)
        if "interrupt" in options.parts:
            with simulating(folder / "interrupt", "600") as service:
                interrupts(service, folder / "interrupt/work", options.interrupted_jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(default: all)")
    parser.add_argument("--jobs", type=int, default=1000, help="of requests (default: 1000)")
    parser.add_argument("--peer-jobs", type=int, help="of the other plugin; 0: without it (default: as many)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 5000, 10_000], help="of scale")
    parser.add_argument("--rounds", type=int, default=1, help="of scale, in turn: medians (default: 1)")
    parser.add_argument("--chains", type=int, default=50, help="of latency (default: 50)")
    parser.add_argument("--interrupted-jobs", type=int, default=200, help="(default: 200)")
    return parser


def _requests(folder: Path, jobs: int, peer_jobs: int) -> None:
    rows: list[list[str | float]] = []
    with simulating(folder / "ours", "1-3") as service:
        measured = through_azurebatch(service, workdir(folder / "work"), Load(jobs, gathers=True))
        rows.append(_counted("this plugin", service, jobs, measured))
    if peer_jobs:
        with simulating(folder / "theirs", "1-3") as service:
            measured = through_peer(service, workdir(folder / "their-work"), Load(peer_jobs, gathers=True))
            rows.append(_counted("azure-batch 0.3.0", service, peer_jobs, measured))
        rows.append(["ratio", "", "", float(rows[1][3]) / float(rows[0][3]), "", ""])
    head = ["", "jobs", "requests to Batch", "per 100 jobs", "seconds", "requests per second"]
    table(f"Requests, interval {INTERVAL_S} s", head, rows)
    if jobs == 1000:
        print(f"\nGoal for 1,000 jobs: {REQUESTS_GOAL}; ratio {float(rows[0][2]) / REQUESTS_GOAL:.2f}")


def _counted(who: str, service: Service, jobs: int, measured: Measured) -> list[str | float]:
    lines = service.requests()
    for route, count in by_route(lines).most_common():
        print(f"  {who}: {count} {route}", flush=True)
    wall_s = measured.wall_s
    return [who, float(jobs), float(len(lines)), 100 * len(lines) / jobs, wall_s, len(lines) / wall_s]


def _scale(folder: Path, sizes: Sequence[int], rounds: int) -> None:
    rows: list[list[str | float]] = []
    _both(folder / "compiles", jobs=2)
    for jobs in sizes:
        alone, ours, requests = [], [], 0
        for turn in range(rounds):
            one, other, requests = _both(folder / f"{jobs}-{turn}", jobs)
            alone.append(one)
            ours.append(other)
            for who, some in (("alone", one), ("with this plugin", other)):
                print(f"  {jobs:,} {who}: CPU s {some.cpu_s:.1f}, choice {choice_s(some.text):.1f}", flush=True)
        rows.append([f"{jobs:,}", *_compared(alone, ours, jobs), float(requests)])
    head = ["jobs", "Snakemake alone, CPU s", "its choice of jobs", "with this plugin", "its choice of jobs"]
    head += [f"beyond, but for the choice / alone (goal {CPU_GOAL})", "ms per job"]
    head += ["alone, MiB", "with this plugin, MiB", f"beyond (goal {MEMORY_GOAL_MIB} MiB)", "requests to Batch"]
    table("The controller", head, rows)


def _both(folder: Path, jobs: int) -> tuple[Measured, Measured, int]:
    """Snakemake alone, the same with this plugin, and the plugin's requests."""
    alone = through_instant(workdir(folder / "instant"), Load(jobs))
    with simulating(folder / "service", "5-15") as service:
        ours = through_azurebatch(service, workdir(folder / "ours"), Load(jobs))
        return alone, ours, len(service.requests())


def _compared(alone: Sequence[Measured], ours: Sequence[Measured], jobs: int) -> list[float]:
    alone_s, ours_s = (median([one.cpu_s for one in some]) for some in (alone, ours))
    chosen_s, ours_chosen_s = (median([choice_s(one.text) for one in some]) for some in (alone, ours))
    alone_mib, ours_mib = (median([one.peak_mib for one in some]) for some in (alone, ours))
    beyond_s = (ours_s - ours_chosen_s) - (alone_s - chosen_s)
    cpu = [alone_s, chosen_s, ours_s, ours_chosen_s, beyond_s / alone_s, 1000 * beyond_s / jobs]
    return [*cpu, alone_mib, ours_mib, ours_mib - alone_mib]


if __name__ == "__main__":
    main()
