"""Real ``snakemake`` against one local Batch service and Azurite for the whole session."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient, ContainerClient

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.node.protocol import Manifest
from tests import told

NODES = 2
SLOTS = 2


@dataclass(frozen=True)
class Outcome:
    """What a ``snakemake`` process did."""

    status: int
    text: str  #: stdout and stderr, as the user sees them

    def must_succeed(self) -> "Outcome":
        assert self.status == 0, self.text
        return self

    def must_fail(self) -> "Outcome":
        assert self.status == 1, self.text
        assert "Traceback" not in self.text, self.text
        return self


@dataclass(frozen=True)
class Workdir:
    """A folder with a workflow in it, and how to run that."""

    path: Path
    service: emulator.RunningService
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def azurebatch(self, *arguments: str, jobs: int = 10) -> list[str]:
        """The command line of a run on the local service."""
        return [
            *(sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--jobs", str(jobs), "--nocolor"),
            *("--azurebatch-account-url", self.service.batch_url),
            *("--azurebatch-dedicated-nodes", str(NODES), "--azurebatch-task-slots-per-node", str(SLOTS)),
            *("--azurebatch-poll-interval", "0.3", "--max-jobs-per-timespan", "1000/1s"),
            *arguments,
        ]

    def run(self, *arguments: str, **options: int) -> Outcome:
        """Run the workflow on the local service."""
        return self.call(self.azurebatch(*arguments, **options))

    def run_locally(self, *arguments: str) -> Outcome:
        """Run the workflow with Snakemake's own local executor."""
        return self.call([sys.executable, "-m", "snakemake", "--cores", "2", "--nocolor", *arguments])

    def nothing_to_do(self) -> None:
        """Ask Snakemake whether it is content with what is there."""
        assert "Nothing to be done" in self.run_locally("-n").must_succeed().text

    def call(self, command: list[str], **options: object) -> Outcome:
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=540,
            **options,
        )
        return Outcome(done.returncode, done.stdout)

    def variables(self) -> dict[str, str]:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("AZURE", "BATCH", "STORAGE", "SNAKEMAKE"))
        }
        kept = {k: v for k, v in os.environ.items() if k == "SNAKEMAKE_AZUREBATCH_CACHE"}
        return {**inherited, **kept, **self.service.environment, **self.environment}

    def blobs(self, prefix: str, container: str | None = None) -> set[str]:
        """Names of the blobs below ``prefix`` in this workdir's blob container, or another one."""
        connection = self.service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(connection) as client:
            blobs = client.get_container_client(container or container_name(str(self.path)))
            return {str(blob.name) for blob in blobs.list_blobs(prefix)}

    def content(self, blob: str) -> bytes:
        """What is in a blob of this workdir's blob container."""
        connection = self.service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(connection) as client:
            return client.get_blob_client(container_name(str(self.path)), blob).download_blob().readall()

    def manifests(self) -> list[Manifest]:
        """What the stager was told for each task."""
        variables = self.service.environment
        credential = AzureNamedKeyCredential(self.service.account, variables["BATCH_ACCOUNT_KEY"])
        connection = variables["STORAGE_ACCOUNT_CONNECTION_STRING"]
        name = container_name(str(self.path))
        with (
            BatchClient(self.service.batch_url, credential) as batch,
            ContainerClient.from_connection_string(connection, name) as container,
        ):
            return list(told.manifests(batch, container, self.path))

    def requests(self) -> list[dict]:
        """The service's request log."""
        log = self.service.state_dir / "requests.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[emulator.RunningService]:
    with emulator.start(tmp_path_factory.mktemp("service"), lifeline=True, progress=print) as started:
        yield started.service


@pytest.fixture
def workdir(tmp_path, service) -> Workdir:
    folder = tmp_path / "work"
    folder.mkdir()
    return Workdir(folder, service)
