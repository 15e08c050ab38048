"""Pytest fixtures for programs that use Azure Batch: a real local service, with blob storage beside it.

Say ``pytest_plugins = ["snakemake_executor_azurebatch.emulator.testing"]`` in your ``conftest.py``, then::

    from azure.batch import models

    def test_my_program_survives_throttling(local_batch):
        local_batch.fault("throttle", route="/jobs/*", rate=0.3, seconds=1)
        with local_batch.client() as client:
            client.create_job(models.BatchJobCreateOptions(id="j", pool_info=models.BatchPoolInfo(pool_id="p")))
            ...
        assert all(line["status"] != 500 for line in local_batch.requests())

``local_batch`` is a service for one test; its faults, pools and jobs end with it. ``local_batch_session`` is
one for the whole session, which starts once. ``local_batch_options`` (session scope) can be overridden to start
them otherwise: ``emulator.service.StartOptions(simulate="5", clock_speed=60)``. Without pytest: ``running(folder)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .config import DEVELOPMENT_KEY
from .control import Control
from .environment import STORAGE_KEY
from .running import RunningService
from .service import StartOptions, start

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.storage.blob import BlobServiceClient

__all__ = ["LocalBatch", "StartOptions", "local_batch", "local_batch_options", "local_batch_session", "running"]


@dataclass(frozen=True)
class LocalBatch:
    """A running service, as a test has it."""

    service: RunningService

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point other programs at the service, keys included."""
        return self.service.environment

    @property
    def control(self) -> Control:
        """The service's clock, faults and nodes."""
        return Control(self.service)

    def client(self, **options: Any) -> BatchClient:  # noqa: ANN401 (the SDK's own keywords)
        """A client of the Azure SDK for this service; ``options`` are the SDK's."""
        from azure.batch import BatchClient
        from azure.core.credentials import AzureNamedKeyCredential

        if self.service.ca_file:
            options.setdefault("connection_verify", self.service.ca_file)
        credential = AzureNamedKeyCredential(self.service.account, DEVELOPMENT_KEY)
        return BatchClient(self.service.batch_url, credential, **options)

    def blob_service(self, **options: Any) -> BlobServiceClient:  # noqa: ANN401 (the SDK's own keywords)
        """A client of the Azure SDK for the blob storage beside the service."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.service.blob_url, credential=STORAGE_KEY, **options)

    def fault(self, kind: str, **members: str | float) -> dict[str, Any]:
        """Make something go wrong: see ``snakemake-azurebatch emulator fault kinds``. Answers the fault."""
        return self.control.add_fault(kind, **members)

    def clear_faults(self) -> None:
        """No more faults. What they did stays done."""
        self.control.clear_faults()

    def advance(self, seconds: float) -> None:
        """Move the service's clock ahead."""
        self.control.clock(advanceSeconds=seconds)

    def requests(self) -> list[dict[str, Any]]:
        """The request log: time, method, route, status, duration_ms, client; oldest first."""
        log = self.service.state_dir / "requests.jsonl"
        return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@contextmanager
def running(folder: Path, options: StartOptions | None = None) -> Iterator[LocalBatch]:
    """A service with its state in ``folder``, ended with the block. Raises ServiceStartError."""
    with start(folder, lifeline=True, options=options) as started:
        yield LocalBatch(started.service)


@pytest.fixture(scope="session")
def local_batch_options() -> StartOptions:
    """How the services are started; override it in your conftest."""
    return StartOptions()


@pytest.fixture
def local_batch(tmp_path_factory: pytest.TempPathFactory, local_batch_options: StartOptions) -> Iterator[LocalBatch]:
    """A service for one test."""
    with running(tmp_path_factory.mktemp("local-batch"), local_batch_options) as service:
        yield service


@pytest.fixture(scope="session")
def local_batch_session(
    tmp_path_factory: pytest.TempPathFactory, local_batch_options: StartOptions
) -> Iterator[LocalBatch]:
    """One service for all tests of a session. Each test should use ids of its own."""
    with running(tmp_path_factory.mktemp("local-batch"), local_batch_options) as service:
        yield service
