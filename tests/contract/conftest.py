"""A real local service on a free port, and the real SDK's clients for it."""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, ServiceConfig
from snakemake_executor_azurebatch.emulator.runtime import Timings
from snakemake_executor_azurebatch.emulator.server import batch_service

#: For a state that comes for sure; only a broken service makes a test wait so long.
PATIENCE_S = 120.0


def pytest_configure(config):
    # azure-batch 15.1 signs with utcnow(), which Python 3.12 deprecates
    config.addinivalue_line("filterwarnings", r"ignore:datetime\.datetime\.utcnow:DeprecationWarning:azure\.batch")


@dataclass(frozen=True)
class LocalService:
    """A running service, without blobs."""

    url: str
    config: ServiceConfig

    def client(self, *, account: str = DEVELOPMENT_ACCOUNT, key: str = DEVELOPMENT_KEY, **options) -> BatchClient:
        """A client of the real SDK."""
        return BatchClient(self.url, AzureNamedKeyCredential(account, key), retry_total=0, **options)


@contextmanager
def running_service(state_dir: Path, timings: Timings | None = None, **settings) -> Iterator[LocalService]:
    """A service in a thread of this process; every task is ended at the end. ``settings``: of its config."""
    config = ServiceConfig(state_dir, **settings)
    started: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def run() -> None:
        stop = asyncio.Event()
        async with batch_service(config, timings) as url:
            started.put((url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="local-service")
    thread.start()
    url, loop, stop = started.get(timeout=PATIENCE_S)
    try:
        yield LocalService(url, config)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def wait_until(holds: Callable[[], object]) -> None:
    """Ask again until it holds."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "what the test waits for did not come"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """One service for all tests; each uses ids of its own."""
    quick = Timings(boot_s=0.05, settle_s=0.03, restart_s=0.05, replace_s=0.05, all_complete_s=0.1)
    with running_service(tmp_path_factory.mktemp("service"), quick) as running:
        yield running


@pytest.fixture(scope="session")
def batch(service: LocalService) -> Iterator[BatchClient]:
    """A client with the right key."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchClient]:
    """A client of a service where no transition ends: what is resizing, terminating, deleting stays so."""
    never = Timings(settle_s=1e6, resize_s=1e6)
    with running_service(tmp_path_factory.mktemp("frozen"), never) as running, running.client() as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An id that no other test uses."""
    return "t-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Bench:
    """A pool and a job on it, and short ways to use them."""

    batch: BatchClient
    id: str

    def add(self, task_id: str, script: str = "exit 0", **options) -> None:
        """Create a task that runs a shell script."""
        self.batch.create_task(self.id, task(task_id, script, **options))

    def state(self, task_id: str) -> str:
        """State of a task."""
        return str(self.batch.get_task(self.id, task_id).state.value)

    def wait_for(self, task_id: str, state: str = "completed") -> m.BatchTask:
        """The task, once it is in that state."""
        wait_until(lambda: self.state(task_id) == state)
        return self.batch.get_task(self.id, task_id)


def pool(pool_id: str, nodes: int = 1, slots: int = 1, **options) -> m.BatchPoolCreateOptions:
    """A small pool."""
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="Canonical", offer="ubuntu", sku="22_04-lts"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
    )
    return m.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="STANDARD_D2_v3",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=nodes,
        task_slots_per_node=slots,
        **options,
    )


def task(task_id: str, script: str = "exit 0", **options) -> m.BatchTaskCreateOptions:
    """A task that runs a shell script."""
    quoted = script.replace('"', '\\"')
    return m.BatchTaskCreateOptions(id=task_id, command_line=f'/bin/sh -c "{quoted}"', **options)


@pytest.fixture
def bench(batch: BatchClient, name: str) -> Iterator[Bench]:
    """A pool with one node of two slots, and a job on it; both are deleted in the end."""
    batch.create_pool(pool(name, slots=2))
    batch.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    yield Bench(batch, name)
    batch.begin_delete_pool(name, polling_interval=0.02).result()
    batch.begin_delete_job(name, polling_interval=0.02).result()


@pytest.fixture
def special(bench: Bench) -> Iterator[Callable[..., str]]:
    """Makes jobs of their own on the bench's pool, and answers their ids; they are deleted in the end."""
    made: list[str] = []

    def make(**options) -> str:
        job_id = f"{bench.id}-{len(made)}"
        pool_info = m.BatchPoolInfo(pool_id=bench.id)
        bench.batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=pool_info, **options))
        made.append(job_id)
        return job_id

    yield make
    for job_id in made:
        bench.batch.begin_delete_job(job_id, polling_interval=0.02).result()


def code_of(error: pytest.ExceptionInfo) -> str:
    """The service's own code in an error of the SDK."""
    return str(error.value.model.code)


def values_of(error: pytest.ExceptionInfo) -> dict[str, str]:
    """What the error says more, by key."""
    return {item.key: item.value for item in error.value.model.error_values or []}


def refusal(error: pytest.ExceptionInfo) -> tuple[int, str]:
    """Status and the service's code in an error of the SDK."""
    return error.value.status_code, code_of(error)
