"""One way to move files, in a process of its own: ``python -m tests.bench.contestants WHO up|down FOLDER NAME``.

``controller`` is what the plugin's own process does: upload with digests and the index, download with MD5, renaming
and the index. ``plugin`` is snakemake-storage-plugin-azure, called as Snakemake calls it (source: snakemake 9.27.1,
``DAG.retrieve_storage_inputs`` and ``DAG.store_storage_outputs``): one task of a TaskGroup for each file. NAME is a
blob container; the connection string is in BENCH_STORAGE. Prints the seconds from after the imports to the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

CONNECTION = "BENCH_STORAGE"


def controller(way: str, folder: Path, name: str) -> float:
    """Upload as for inputs of a job; download as outputs of a task. What was stored where is kept beside."""
    from azure.storage.blob import BlobServiceClient

    from snakemake_executor_azurebatch.staging.index import Index
    from snakemake_executor_azurebatch.staging.store import BlobStore
    from snakemake_executor_azurebatch.staging.transfer import Transfers

    began = time.perf_counter()
    with BlobServiceClient.from_connection_string(os.environ[CONNECTION]) as service:
        store = BlobStore(service.get_container_client(name))
        index = Index(folder.parent / f"{name}-{way}.sqlite", store.ensure())
        transfers = Transfers(store, index)
        if way == "up":
            _upload(transfers, folder, folder.parent / f"{name}.json")
        else:
            _bring_back(store, index, folder, folder.parent / f"{name}.json")
        transfers.close()
        store.close()
        index.close()
    return time.perf_counter() - began


def _upload(transfers, folder: Path, stored: Path) -> None:
    from snakemake_executor_azurebatch.jobs import NeededFile
    from snakemake_executor_azurebatch.staging.plan import plan_inputs

    needed = [NeededFile(path.name, path, "file") for path in sorted(folder.iterdir())]
    plan = plan_inputs(needed, transfers.known)
    done = transfers.upload_missing(plan.missing)
    stored.write_text(json.dumps([asdict(one) for one in done.values()]))


def _bring_back(store, index, folder: Path, stored: Path) -> None:
    from snakemake_executor_azurebatch.node.protocol import CommitRecord, InputFile, Product, StoredFile
    from snakemake_executor_azurebatch.staging.outputs import bring_back, learn_outputs

    outputs = [
        StoredFile(one.path, one.blob, one.size_bytes, one.md5, offset=one.offset, pack_bytes=one.pack_bytes)
        for one in (InputFile(**fields) for fields in json.loads(stored.read_text()))
    ]
    record = CommitRecord("t", "done", 0, outputs=outputs)
    places = bring_back(store, record, folder, wanted=[Product(one.path) for one in outputs])
    learn_outputs(index, record, folder, places)


def plugin(way: str, folder: Path, name: str) -> float:
    """Store or retrieve each file as a storage object."""
    os.environ["AZURITE_CONNECTION_STRING"] = os.environ[CONNECTION]
    from snakemake_storage_plugin_azure import StorageObject, StorageProvider, StorageProviderSettings

    began = time.perf_counter()
    logger = logging.getLogger("bench")
    settings = StorageProviderSettings(account_name="devstoreaccount1")
    provider = StorageProvider(folder.parent / "prefix", logger, settings=settings)
    names = json.loads((folder.parent / "names.json").read_text())
    objects = [StorageObject(f"az://{name}/{path}", False, True, provider) for path in names]
    for one, path in zip(objects, names, strict=True):
        one.set_local_path(folder / path)
    asyncio.run(_all(objects, way))
    return time.perf_counter() - began


async def _all(objects: list, way: str) -> None:
    async with asyncio.TaskGroup() as group:
        for one in objects:
            group.create_task(one.managed_store() if way == "up" else one.managed_retrieve())


def main() -> None:
    """Run one contestant."""
    who, way, folder, name = sys.argv[1:]
    print({"controller": controller, "plugin": plugin}[who](way, Path(folder), name))


if __name__ == "__main__":
    main()
