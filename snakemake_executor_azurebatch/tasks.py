"""Plain values turned into what Azure Batch is asked for: the Batch job of a run, and its tasks (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node import protocol

if TYPE_CHECKING:
    from azure.batch import models

#: A task as the service is asked for it, by the names on the wire: the SDK's models take ten times as long to make
#: and to write (seen with azure-batch 15.1).
Task = dict[str, Any]

STAGER_FILE = "stager.pyz"
#: A request may have 1 MiB (source: Azure Batch documentation, "RequestBodyTooLarge"); some of it is for what the SDK
#: puts around a task.
MAX_TASK_BYTES = 1_000_000

#: After so long Azure Batch may delete the folder of a completed task; it is seven days where nobody says it. It is the
#: same for tasks that have failed: of which files stay is the stager's to decide. Source: Azure Batch reference, task
#: constraints (retentionTime).
NO_RETENTION = "PT1M"

#: Root, in the container too. Source: Azure Batch documentation, "Run tasks under user accounts".
_ADMINISTRATOR = {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}

#: The stager runs with the image's own Python: ``python`` first, as Snakemake itself calls it. It needs nothing that
#: is installed there, and starts quicker without looking for it (-S).
COMMAND_LINE = (
    "/bin/sh -c '"
    "for name in python python3; do "
    f'command -v "$name" >/dev/null 2>&1 && exec "$name" -S {STAGER_FILE}; '
    "done; "
    'echo "[stage] there is no python in this image: Snakemake jobs need one" >&2; '
    f"exit {protocol.EXIT_NO_PYTHON}'"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all tasks of a run share."""

    image: str | None  #: None on a pool without containers
    slots_per_node: int
    stager_url: str = field(repr=False)  #: with a SAS
    access: Mapping[str, str] = field(default_factory=dict, repr=False)  #: in place of the Batch job's; with SAS
    is_elevated: bool = False  #: tasks are root in their containers
    keep_files: str = protocol.KEEP_FAILED  #: of which completed tasks files stay on their nodes


def job_options(
    job_id: str, pool_id: str, *, environment: Mapping[str, str], lifetime_s: float, metadata: Mapping[str, str]
) -> models.BatchJobCreateOptions:
    """The Batch job of a run. It ends by itself after ``lifetime_s``, with the tasks' access to the blobs."""
    from azure.batch import models

    return models.BatchJobCreateOptions(
        id=job_id,
        pool_info=models.BatchPoolInfo(pool_id=pool_id),
        constraints=models.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=lifetime_s)),
        common_environment_settings=[models.EnvironmentSetting(**one) for one in named_values(environment)],
        metadata=[models.BatchMetadataItem(name=name, value=value) for name, value in metadata.items()],
    )


def slots_of(request: JobRequest, around: Surroundings) -> int:
    """Slots of a node that the job's task takes: its share, or one for each thread."""
    return required_slots(request.share.slots if request.share else request.threads, around.slots_per_node)


def image_of(request: JobRequest, around: Surroundings) -> str | None:
    """The container image that a job runs in; None on a pool without containers."""
    return around.image if request.way is None else request.way.image


def required_slots(wanted: int, slots_per_node: int) -> int:
    """The slots that a task takes: those it wants, as far as a node has them."""
    return min(wanted, slots_per_node)


def task_options(request: JobRequest, manifest: Mapping[str, str], around: Surroundings) -> Task:
    """The task that runs one Snakemake job: its share, or one slot per thread, as far as a node has them.

    ``manifest``: variables that say what the manifest is, or where.
    """
    image = image_of(request, around)
    return {
        "id": request.key,
        "commandLine": COMMAND_LINE,
        "resourceFiles": [{"httpUrl": around.stager_url, "filePath": STAGER_FILE}],
        "environmentSettings": named_values({**request.environment, **around.access, **manifest}),
        "requiredSlots": slots_of(request, around),
        "constraints": _constraints(request, around),
        **({"containerSettings": _container(image, request)} if image else {}),
        **({"userIdentity": _ADMINISTRATOR} if around.is_elevated else {}),
    }


def _constraints(request: JobRequest, around: Surroundings) -> dict[str, object]:
    constraints: dict[str, object] = {"maxTaskRetryCount": 0}  # Snakemake's ``retries`` try with other resources
    if request.runtime_s:
        constraints["maxWallClockTime"] = f"PT{request.runtime_s}S"
    if around.keep_files == protocol.KEEP_NONE:
        constraints["retentionTime"] = NO_RETENTION
    return constraints


def _container(image: str, request: JobRequest) -> dict[str, str]:
    options = request.share.run_options if request.share else ""
    return {"imageName": image, **({"containerRunOptions": options} if options else {})}


def named_values(environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Environment variables as the service wants them."""
    return [{"name": name, "value": value} for name, value in environment.items()]


def check_size(task: Task) -> None:
    """Refuse what the service would refuse. Raises StagingError with numbers."""
    size_bytes = len(json.dumps(task))
    if size_bytes > MAX_TASK_BYTES:
        variables = sum(len(item["name"]) + len(item["value"]) for item in task["environmentSettings"])
        raise StagingError(
            f"the request for this task would have {size_bytes} bytes, and Azure Batch takes {MAX_TASK_BYTES}: "
            f"{variables} bytes of environment variables (envvars:), {len(task['resourceFiles'])} resource files"
        )
