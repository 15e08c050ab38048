"""The local service in simulate mode, whose tasks leave what the stager would: ``python -m tests.bench.stand_in``.

Tasks run nothing. Before one ends, its commit record is put into blob storage, as its manifest says. Its outputs, a few
bytes each, are in the record and nowhere else: nobody reads them, and each request to Azurite takes longer the more
blobs it has (1.6 ms for one among the first thousand, 16 ms after 7,000). Tasks without a manifest are those of
snakemake-executor-plugin-azure-batch: their outputs go where its storage plugin looks for them, to the storage that the
file BENCH_CONNECTION names. The arguments are the service's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure.storage.blob import BlobClient

from snakemake_executor_azurebatch.emulator import __main__ as service
from snakemake_executor_azurebatch.emulator import runtime
from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome, TaskWork
from snakemake_executor_azurebatch.emulator.simulation import SimulatedAgent
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.blob import Container
from snakemake_executor_azurebatch.node.md5 import base64_of
from snakemake_executor_azurebatch.node.protocol import CommitRecord, Manifest, StoredFile

CONTENT = b"made up\n"
CONNECTION_FILE, PEER_CONTAINER = "BENCH_CONNECTION", "peer"

_STAGERS = ThreadPoolExecutor(8, "stand-in")
_OF_THREAD = threading.local()


class StandingInAgent(SimulatedAgent):
    """A node whose tasks leave outputs and a commit record."""

    async def run(self, work: TaskWork) -> TaskOutcome:
        """As simulated; what it leaves is there before it ends."""
        outcome = await super().run(work)
        if outcome.exit_code == 0 and work.kind == "task":
            await asyncio.get_running_loop().run_in_executor(_STAGERS, _leave, work)
        return outcome


def _leave(work: TaskWork) -> None:
    given = (*work.common_environment, *(work.body.get("environmentSettings") or ()))
    variables = {str(item["name"]): str(item.get("value") or "") for item in given}
    if protocol.ENV_MANIFEST in variables:
        _as_the_stager(variables)
    else:
        _as_a_remote_snakemake(str(work.body["commandLine"]))


def _as_the_stager(variables: dict[str, str]) -> None:
    read, write = (_container(variables[name]) for name in (protocol.ENV_READ_URL, protocol.ENV_WRITE_URL))
    value = variables.get(protocol.ENV_MANIFEST_TEXT)
    data = protocol.of_variable(value) if value else read.get(variables[protocol.ENV_MANIFEST])
    manifest = Manifest.from_json(protocol.decode(data))
    write.marks = manifest.marks
    outputs = []
    for product in manifest.outputs:
        blob = f"{manifest.destination}/outputs/{product.path}"
        md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
        outputs.append(StoredFile(product.path, blob, len(CONTENT), md5, content=base64_of(CONTENT)))
    record = CommitRecord(manifest.task_id, "done", 0, outputs=outputs)
    write.put(protocol.record_blob(manifest.destination), protocol.encode(record.to_json()))


def _as_a_remote_snakemake(command: str) -> None:
    """Its target is on the command line, perhaps in base64."""
    words = [
        command,
        *(base64.b64decode(found).decode() for found in re.findall(r"base64//([A-Za-z0-9+/=]+)", command)),
    ]
    for text in words:
        if made := re.search(r"\bmake:n=(\d+)", text):
            name = f"out/{made[1]}.txt"
        elif re.search(r"\btotal:", text):
            name = "total.txt"
        else:
            continue
        connection = Path(os.environ[CONNECTION_FILE]).read_text()
        with BlobClient.from_connection_string(connection, PEER_CONTAINER, name) as blob:
            blob.upload_blob(CONTENT, overwrite=True)


def _container(url: str) -> Container:
    """One for each thread: it keeps its connection."""
    known = _OF_THREAD.__dict__.setdefault("known", {})
    if url not in known:
        known[url] = Container(url)
    return known[url]


if __name__ == "__main__":
    runtime.SimulatedAgent = StandingInAgent  # type: ignore[misc]
    sys.exit(service.main())
