"""The end of a service with blob storage: tasks still reach it while they are asked to end."""

from __future__ import annotations

import signal
import sys

from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY
from snakemake_executor_azurebatch.emulator.environment import STORAGE_KEY

from .conftest import PATIENCE_S, pool, wait_until
from .test_with_blobs import _sas, running

__all__ = ["running"]

_SAVES_ITS_LOG_AT_THE_END = """
import pathlib, signal, sys, time, urllib.request

def end(*_):
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
    put = urllib.request.Request(sys.argv[1], b"last words", headers, method="PUT")
    with urllib.request.urlopen(put) as answer:
        pathlib.Path(sys.argv[2], "answer").write_text(str(answer.status))
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2], "began").touch()
while True:
    time.sleep(60)
"""


def test_tasks_are_ended_before_the_blob_storage(running, tmp_path):
    process, facts = running
    with BlobServiceClient(facts["blob_url"], credential=STORAGE_KEY) as blobs:
        blobs.create_container("logs")
    script = tmp_path / "task.py"
    script.write_text(_SAVES_ITS_LOG_AT_THE_END)
    url = f"{facts['blob_url']}/logs/last.txt?{_sas()}"
    with BatchClient(facts["batch_url"], AzureNamedKeyCredential("localbatch", DEVELOPMENT_KEY)) as batch:
        batch.create_pool(pool("p"))
        batch.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        command = f"{sys.executable} {script} '{url}' {tmp_path}"
        batch.create_task("j", m.BatchTaskCreateOptions(id="t", command_line=command))
        wait_until((tmp_path / "began").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert (tmp_path / "answer").read_text() == "201"
