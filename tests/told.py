"""What the tasks of a workdir were told: their manifests, in their environment or in blob storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from azure.batch import BatchClient
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Manifest


def manifests(batch: BatchClient, container: ContainerClient, workdir: Path) -> Iterator[Manifest]:
    """Of all tasks that the service still knows and that the stager serves."""
    for job in batch.list_jobs():
        if ("workdir", str(workdir)) not in [(item.name, item.value) for item in job.metadata or []]:
            continue
        for task in batch.list_tasks(job.id):
            variables = {item.name: item.value or "" for item in task.environment_settings or []}
            if value := variables.get(protocol.ENV_MANIFEST_TEXT):
                yield Manifest.from_json(protocol.decode(protocol.of_variable(value)))
            elif blob := variables.get(protocol.ENV_MANIFEST):
                yield Manifest.from_json(protocol.decode(container.download_blob(blob).readall()))
