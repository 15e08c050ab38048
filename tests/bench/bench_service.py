"""How quick and how big the local service is: ``python -m tests.bench.bench_service``, from the repository's root.

One service process without blobs, plain signed requests, nothing else on the machine if the figures are to
mean something. No task runs: the job's pool does not exist, so all of them wait. Each figure is a median
of a few rounds, with the ratio to its goal (above 1: missed).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.emulator.running import recorded
from tests.contract.raw import RawClient

_MODULE = "snakemake_executor_azurebatch.emulator"
_COLLECTION = 100
_ROUNDS = 7
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """One line of the report. ``goal`` is the largest value that is good."""

    what: str
    value: float
    unit: str
    goal: float

    def __str__(self) -> str:
        ratio = self.value / self.goal
        verdict = "" if ratio <= 1 else "  MISSED"
        return f"{self.what:<58} {self.value:>9.2f} {self.unit:<8} {ratio:>5.2f} of the goal ({self.goal:g}){verdict}"


def main() -> int:
    """Print all figures; 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks of the last step (default: 100,000)")
    total = parser.parse_args().tasks
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder)) as (client, pid):
        figures = list(_figures(client, pid, total))
    return int(any(figure.value > figure.goal for figure in figures))


def _figures(client: RawClient, pid: int, total: int) -> Iterator[Figure]:
    for figure in _measure(client, pid, total):
        print(figure, flush=True)
        yield figure


def _measure(client: RawClient, pid: int, total: int) -> Iterator[Figure]:
    empty = _rss_mib(pid)
    adding_s = statistics.median(_seconds(lambda job=f"add{number}": _fill(client, job, 10_000)) for number in range(3))
    yield Figure(f"add 10,000 tasks, 100 at once ({10_000 / adding_s:,.0f} per second)", adding_s, "s", 5)
    yield Figure("a page of 1,000 tasks", _median_ms(client, "/jobs/add0/tasks"), "ms", 60)
    _fill(client, "big", 50_000)
    target = "/jobs/big/tasks?$filter=startswith(id,'t04999')"
    assert len(client.send("GET", target).json()["value"]) == 10
    yield Figure("10 matches by id among 50,000 tasks", _median_ms(client, target), "ms", 100)
    late = "/jobs/big/tasks?$filter=state%20eq%20'completed'%20or%20id%20ge%20't049990'"
    assert len(client.send("GET", late).json()["value"]) == 10
    yield Figure("10 matches by state or id among 50,000 tasks", _median_ms(client, late), "ms", 100)
    since = "/jobs/big/tasks?$filter=stateTransitionTime%20gt%20DateTime'2999-01-01T00:00:00Z'"
    yield Figure("no match by time among 50,000 tasks", _median_ms(client, since), "ms", 100)
    yield Figure("task counts of a job with 50,000 tasks", _median_ms(client, "/jobs/big/taskcounts"), "ms", 60)
    _fill(client, "rest", total - 80_000)
    yield Figure(f"memory with {total:,} tasks (empty: {empty:.0f} MiB)", _rss_mib(pid), "MiB", 1024)


@contextmanager
def _service(folder: Path) -> Iterator[tuple[RawClient, int]]:
    ready = folder / "ready.json"
    argv = [sys.executable, "-m", _MODULE, "--state-dir", str(folder), "--ready-file", str(ready), "--no-blobs"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*argv, "--lifeline"], stdin=subprocess.PIPE, stderr=log)
    try:
        while (service := recorded(ready)) is None:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        client = RawClient(service.batch_url)
        yield client, process.pid
        client.close()
    finally:
        process.terminate()
        process.communicate()


def _fill(client: RawClient, job: str, count: int) -> None:
    """A job with that many tasks, none of which can run."""
    assert client.send("POST", "/jobs", {"id": job, "poolInfo": {"poolId": "nowhere"}}).status == 201
    for first in range(0, count, _COLLECTION):
        tasks = [_task(number) for number in range(first, first + _COLLECTION)]
        answer = client.send("POST", f"/jobs/{job}/addtaskcollection", {"value": tasks})
        assert answer.status == 200, answer.content


def _task(number: int) -> dict[str, object]:
    """A task of the size that a workflow's tasks have."""
    return {
        "id": f"t{number:06}",
        "commandLine": f"/bin/sh -c 'python3 stager.pyz run tasks/t{number:06}/manifest.json'",
        "resourceFiles": [{"httpUrl": f"https://account.example.net/c/runtime?sv=x&sig={'s' * 64}", "filePath": "s"}],
        "environmentSettings": [{"name": "ONE", "value": str(number)}, {"name": "TWO", "value": "2"}],
        "constraints": {"maxTaskRetryCount": 2, "retentionTime": "PT1H"},
        "requiredSlots": 2,
    }


def _median_ms(client: RawClient, target: str) -> float:
    return 1000 * statistics.median(_seconds(lambda: _get(client, target)) for _ in range(_ROUNDS))


def _get(client: RawClient, target: str) -> None:
    assert client.send("GET", target).status == 200


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _rss_mib(pid: int) -> float:
    """Resident memory of a process, from /proc where there is one, else from ps."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024 / _MIB
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024 / _MIB


if __name__ == "__main__":
    sys.exit(main())
