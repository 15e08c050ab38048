"""The sides that are compared: one workflow through this plugin, through an instant one, and through another plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.emulator.running import RunningService, recorded
from tests.bench.measuring import Measured, measure
from tests.bench.stand_in import CONNECTION_FILE, PEER_CONTAINER
from tests.clients.installed import python_with

ROOT = Path(__file__).parents[2]
INTERVAL_S = 2  #: whole seconds: the other plugin knows no parts of them
NODES, SLOTS = 16, 64

SNAKEFILE = """
N = int(config["jobs"])

rule all:
    input: "total.txt" if config.get("gather", "yes") == "yes" else expand("out/{n}.txt", n=range(N))

rule total:
    input: expand("out/{n}.txt", n=range(N))
    output: "total.txt"
    shell: "cat {input} > {output}"

rule make:
    output: "out/{n}.txt"
    shell: "echo {wildcards.n} > {output}"
"""


@dataclass(frozen=True)
class Service:
    """A local service whose tasks are simulated."""

    running: RunningService
    connection_file: Path  #: where tasks of other plugins read how to reach blob storage

    def requests(self) -> list[dict[str, object]]:
        """Its request log."""
        log = self.running.state_dir / "requests.jsonl"
        return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@contextmanager
def simulating(folder: Path, takes_s: str) -> Iterator[Service]:
    """Start the service; ``takes_s``: seconds that tasks take, as "2" or "1-3"."""
    state, connection = folder / "service", folder / "connection"
    state.mkdir(parents=True)
    ready = state / "ready.json"
    argv = [sys.executable, "-m", "tests.bench.stand_in", "--state-dir", str(state), "--ready-file", str(ready)]
    environment = {**os.environ, CONNECTION_FILE: str(connection), "PYTHONPATH": str(ROOT)}
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--lifeline", "--simulate", takes_s], stdin=subprocess.PIPE, stderr=log, env=environment
        )
    try:
        while (service := recorded(ready)) is None:
            if process.poll() is not None:
                raise SystemExit((folder / "service.log").read_text())
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        yield Service(service, connection)
    finally:
        process.terminate()
        process.communicate()


def workdir(folder: Path) -> Path:
    """A folder with the workflow."""
    folder.mkdir(parents=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    return folder


@dataclass(frozen=True)
class Load:
    """What is run: so many jobs, and perhaps one more that gathers what they have made."""

    jobs: int
    gathers: bool = False


def azurebatch(service: Service, load: Load, url: str = "") -> list[str]:
    """The command line of a run through this plugin; ``url``: of the Batch account, where it is not the service's."""
    settings = {
        "account-url": url or service.running.batch_url,
        "pool-id": "bench",
        "dedicated-nodes": str(NODES),
        "task-slots-per-node": str(SLOTS),
        "poll-interval": str(INTERVAL_S),
    }
    options = [word for name, value in settings.items() for word in (f"--azurebatch-{name}", value)]
    return [sys.executable, "-m", "snakemake", *snakemake(load, "--executor", "azurebatch", *options)]


def through_azurebatch(service: Service, folder: Path, load: Load) -> Measured:
    """The workflow through this plugin, as a pool of simulated nodes runs it."""
    return measure(timed(azurebatch(service, load)), environment(service), folder)


def timed(call: list[str]) -> list[str]:
    """The call of Snakemake, so that it says what its choice of jobs has taken."""
    return ["tests.bench.timed_snakemake" if word == "snakemake" else word for word in call]


def through_instant(folder: Path, load: Load) -> Measured:
    """The workflow through an executor that completes every job at once."""
    call = [sys.executable, "-m", "snakemake", *snakemake(load, "--executor", "instant")]
    return measure(timed(call), environment(), folder)


def environment(service: Service | None = None) -> dict[str, str]:
    """Variables of a run: where the service is, and the instant executor."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests/bench/plugins")))
    return {**os.environ, **(service.running.environment if service else {}), "PYTHONPATH": paths}


#: The other plugin, with the newest Snakemake, and what stands for its storage.
PEER = "snakemake-executor-plugin-azure-batch==0.3.0"
_PEER_NEEDS = (PEER, "snakemake==9.27.1", "snakemake-storage-plugin-azure==0.4.4")


def through_peer(service: Service, folder: Path, load: Load) -> Measured:
    """The workflow through snakemake-executor-plugin-azure-batch, in an environment of its own."""
    variables = service.running.environment
    settings = {
        "account-url": variables["BATCH_ACCOUNT_URL"],
        "resource-group-name": "bench",
        "subscription-id": "bench",
        "managed-identity-resource-id": "bench",  # wanted by the plugin, and of no use here
        "pool-node-count": str(NODES),
        "tasks-per-node": str(SLOTS),
    }
    options = [word for name, value in settings.items() for word in (f"--azure-batch-{name}", value)]
    call = snakemake(
        load,
        *("--executor", "azure-batch", *options),
        *("--seconds-between-status-checks", str(INTERVAL_S)),
        *("--default-storage-provider", "azure", "--default-storage-prefix", f"az://{PEER_CONTAINER}"),
        *("--storage-azure-account-name", variables["STORAGE_ACCOUNT_NAME"]),
    )
    python, bridge = str(python_with(*_PEER_NEEDS)), str(ROOT / "tests/bench/peer_bridge.py")
    connection = variables["STORAGE_ACCOUNT_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(connection) as blobs:
        blobs.create_container(PEER_CONTAINER)
    service.connection_file.write_text(connection)
    return measure(
        [python, bridge, *call], {**os.environ, **variables, "AZURITE_CONNECTION_STRING": connection}, folder
    )


def snakemake(load: Load, *options: str) -> list[str]:
    """The arguments of Snakemake, the same for all sides but for ``options``."""
    return [
        *("--jobs", str(load.jobs + 1), "--quiet", "all", "--scheduler", "greedy"),
        *("--max-jobs-per-timespan", "1000000/1s", *options),
        *("--config", f"jobs={load.jobs}", f"gather={'yes' if load.gathers else 'no'}"),
    ]


def by_route(lines: list[dict[str, object]]) -> Counter[str]:
    """How many requests of each kind there were."""
    return Counter(f"{line['method']} {line['route']}" for line in lines)
