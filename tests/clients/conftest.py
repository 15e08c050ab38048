"""A local service with blobs, and the environment that each client's script gets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from snakemake_executor_azurebatch.emulator import service
from snakemake_executor_azurebatch.emulator.environment import STORAGE_ACCOUNT, STORAGE_KEY

_LIMIT_S = 300.0


@dataclass(frozen=True)
class Local:
    """A running service, and what a script needs to use it."""

    variables: dict[str, str]
    blob_url: str

    def run(self, command: list[str | Path], name: str, **extra: str) -> dict[str, Any]:
        """Run a client's script against ids and a blob container of its own; answers what it reports (JSON)."""
        with self.container(name) as container:
            container.upload_blob("in.txt", b"from a blob\n")
            until = datetime.now(UTC) + timedelta(hours=1)
            permission = ContainerSasPermissions(read=True, write=True, create=True, list=True)
            sas = generate_container_sas(
                STORAGE_ACCOUNT, name, account_key=STORAGE_KEY, permission=permission, expiry=until
            )
            urls = {"INPUT_URL": f"{self.blob_url}/{name}/in.txt?{sas}", "OUTPUT_URL": f"{self.blob_url}/{name}?{sas}"}
            environment = {**os.environ, **self.variables, **urls, "NAME": name, **extra}
            options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": _LIMIT_S}
            script = subprocess.run(command, env=environment, check=False, **options)
            assert script.returncode == 0, script.stdout + script.stderr
            report = json.loads(script.stdout.splitlines()[-1])
            return {**report, "blobs": {blob.name: _text(container, blob.name) for blob in container.list_blobs()}}

    def container(self, name: str) -> ContainerClient:
        """A new blob container."""
        container = ContainerClient(self.blob_url, name, credential=STORAGE_KEY)
        container.create_container()
        return container


def _text(container: ContainerClient, name: str) -> str:
    return container.download_blob(name).readall().decode()


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One service for all clients."""
    with service.start(tmp_path_factory.mktemp("clients"), lifeline=True) as started:
        yield Local(started.service.environment, started.service.blob_url)
