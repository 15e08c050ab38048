"""The service with Azurite beside it: tasks move their files straight to and from blob storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY
from snakemake_executor_azurebatch.emulator.environment import STORAGE_ACCOUNT, STORAGE_KEY

from .conftest import PATIENCE_S, pool, task, wait_until


@pytest.fixture
def running(tmp_path):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "snakemake_executor_azurebatch.emulator"]
    options = ["--state-dir", str(tmp_path / "state"), "--ready-file", str(ready)]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        yield process, json.loads(ready.read_text())
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert not ready.exists()


def _sas() -> str:
    permission = AccountSasPermissions(read=True, write=True, create=True, list=True)
    until = datetime.now(UTC) + timedelta(hours=1)
    return generate_account_sas(
        STORAGE_ACCOUNT, STORAGE_KEY, ResourceTypes(container=True, object=True), permission, until
    )


def _azurite_of(pid: int) -> int:
    """The service's child that runs Azurite."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(child) for child in children if b"azurite" in Path(f"/proc/{child}/cmdline").read_bytes())


def test_files_travel_through_blob_storage(running):
    _, facts = running
    url = f"{facts['blob_url']}/data"
    with BlobServiceClient(facts["blob_url"], credential=STORAGE_KEY) as blobs:
        blobs.create_container("data").upload_blob("in.txt", b"from a blob\n")
        output = m.OutputFile(
            file_pattern="out.txt",
            destination=m.OutputFileDestination(
                container=m.OutputFileBlobContainerDestination(container_url=f"{url}?{_sas()}", path="done/out.txt")
            ),
            upload_options=m.OutputFileUploadConfiguration(upload_condition="tasksuccess"),
        )
        given = m.ResourceFile(http_url=f"{url}/in.txt?{_sas()}", file_path="given/in.txt")
        key = AzureNamedKeyCredential("localbatch", DEVELOPMENT_KEY)
        with BatchClient(facts["batch_url"], key) as batch:
            batch.create_pool(pool("p"))
            batch.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
            work = task("t", "tr a-z A-Z < given/in.txt > out.txt", resource_files=[given], output_files=[output])
            batch.create_task("j", work)
            wait_until(lambda: batch.get_task("j", "t").state == m.BatchTaskState.COMPLETED)
            done = batch.get_task("j", "t")
        assert done.execution_info.failure_info is None
        with blobs.get_blob_client("data", "done/out.txt") as blob:
            assert blob.download_blob().readall() == b"FROM A BLOB\n"


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds Azurite's process through /proc")
def test_it_ends_with_azurite(running):
    process, facts = running
    assert facts["pid"] == process.pid
    os.kill(_azurite_of(process.pid), signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 5
    assert b"Azurite has ended" in process.stderr.read()


def test_an_azurite_that_cannot_be_started(tmp_path):
    broken = tmp_path / "bin" / "azurite-blob"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho this machine has no luck >&2\nexit 1\n")
    broken.chmod(0o755)
    ready = tmp_path / "ready.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake_executor_azurebatch.emulator"),
            *("--state-dir", str(tmp_path / "state"), "--ready-file", str(ready)),
        ],
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": f"{broken.parent}:{os.environ['PATH']}"},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 4
    assert b"no luck" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not ready.exists()
