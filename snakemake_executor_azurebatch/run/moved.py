"""Tasks whose files Azure Batch itself moves: nothing of ours is in their image but a shell script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snakemake_executor_azurebatch import tasks
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.lanes import BATCH
from snakemake_executor_azurebatch.node.protocol import Manifest
from snakemake_executor_azurebatch.staging.bybatch import Brought, deliver, script_blob
from snakemake_executor_azurebatch.staging.left import LEFT, OUT, STREAMS
from snakemake_executor_azurebatch.staging.opened import Inputs, Opened, open_folders
from snakemake_executor_azurebatch.staging.sas import Access
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.wrapper import HERE, SCRIPT, Work, wrapper_script


def moves_by_batch(request: JobRequest) -> bool:
    """Whether this job's files are moved by Azure Batch."""
    return request.rendered is not None and request.way is not None and request.way.staging == BATCH


def inputs_of(request: JobRequest) -> Inputs:
    """The files that a job's inputs are to be blobs of. Raises StagingError."""
    return open_folders(request.inputs) if moves_by_batch(request) else Inputs(list(request.inputs))


def move_by_batch(
    task: tasks.Task,
    request: JobRequest,
    manifest: Manifest,
    opened: Sequence[Opened],
    store: BlobStore,
    access: Access,
) -> None:
    """Let Azure Batch bring the inputs and take the outputs of ``task``. Raises StagingError, ServiceError.

    ``opened``: input folders whose files are among the manifest's inputs.
    """
    assert request.rendered is not None  # noqa: S101 (moves_by_batch says so)
    delivery = deliver(store, manifest.destination, manifest.inputs, manifest.sources, access.read_url)
    work = Work(
        workdir=manifest.workdir,
        folder=request.folder,
        same_path=manifest.same_path,
        rendered=request.rendered,
        inputs=delivery.arrivals,
        opened=tuple(opened),
        sources=delivery.sources,
        outputs=request.outputs,
        logs=request.logs,
        benchmark=request.benchmark,
    )
    script = wrapper_script(work).encode("utf-8", "surrogateescape")
    store.upload_bytes(script_blob(manifest.destination), script, overwrite=True)
    task["commandLine"] = f"/bin/sh {SCRIPT}"
    task["environmentSettings"] = tasks.named_values(request.environment)
    task["resourceFiles"] = [_resource_file(one) for one in delivery.files]
    task["outputFiles"] = _output_files(access.write_url, manifest.destination)


def _resource_file(one: Brought) -> dict[str, str]:
    if one.prefix:
        return {"storageContainerUrl": one.url, "blobPrefix": one.prefix, "filePath": one.path}
    return {"httpUrl": one.url, "filePath": one.path}


def _output_files(container_url: str, destination: str) -> list[dict[str, Any]]:
    """A pattern of one level: what is left has numbers for names, and a pattern would pass over hidden files."""
    return [
        {
            "filePattern": pattern,
            "destination": {"container": {"containerUrl": container_url, "path": f"{destination}/{path}"}},
            "uploadOptions": {"uploadCondition": condition},
        }
        for pattern, path, condition in (
            (f"{HERE}/out/*", OUT, "tasksuccess"),
            (f"{HERE}/left/*", LEFT, "taskcompletion"),
            ("../std*.txt", STREAMS, "taskfailure"),
        )
    ]
