"""Plain values turned into what Azure Batch is asked for: the Batch job of a run, and its tasks (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node import protocol

if TYPE_CHECKING:
    from azure.batch import models

STAGER_FILE = "stager.pyz"
#: A request may have 1 MiB (source: Azure Batch documentation, "RequestBodyTooLarge"); some of it is for what the SDK
#: puts around a task.
MAX_TASK_BYTES = 1_000_000

#: After so long Azure Batch may delete the folder of a completed task; it is seven days where nobody says it. It is the
#: same for tasks that have failed: of which files stay is the stager's to decide. Source: Azure Batch reference, task
#: constraints (retentionTime).
NO_RETENTION = timedelta(minutes=1)

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
        common_environment_settings=settings(environment),
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


def task_options(request: JobRequest, manifest_blob: str, around: Surroundings) -> models.BatchTaskCreateOptions:
    """The task that runs one Snakemake job: its share, or one slot per thread, as far as a node has them."""
    from azure.batch import models

    image = image_of(request, around)
    return models.BatchTaskCreateOptions(
        id=request.key,
        command_line=COMMAND_LINE,
        container_settings=_container(image, request) if image else None,
        user_identity=_administrator() if around.is_elevated else None,
        resource_files=[models.ResourceFile(http_url=around.stager_url, file_path=STAGER_FILE)],
        environment_settings=settings({**request.environment, **around.access, protocol.ENV_MANIFEST: manifest_blob}),
        required_slots=slots_of(request, around),
        constraints=models.BatchTaskConstraints(
            max_wall_clock_time=timedelta(seconds=request.runtime_s) if request.runtime_s else None,
            # Snakemake's own ``retries`` decide about a second try, with other resources.
            max_task_retry_count=0,
            retention_time=NO_RETENTION if around.keep_files == protocol.KEEP_NONE else None,
        ),
    )


def _container(image: str, request: JobRequest) -> models.BatchTaskContainerSettings:
    from azure.batch import models

    options = request.share.run_options if request.share else ""
    return models.BatchTaskContainerSettings(image_name=image, container_run_options=options or None)


def check_size(task: models.BatchTaskCreateOptions) -> None:
    """Refuse what the service would refuse. Raises StagingError with numbers."""
    size_bytes = len(json.dumps(task.as_dict()))
    if size_bytes > MAX_TASK_BYTES:
        variables = sum(len(item.name) + len(item.value or "") for item in task.environment_settings or [])
        raise StagingError(
            f"the request for this task would have {size_bytes} bytes, and Azure Batch takes {MAX_TASK_BYTES}: "
            f"{variables} bytes of environment variables (envvars:), {len(task.resource_files or [])} resource files"
        )


def _administrator() -> models.UserIdentity:
    """Root, in the container too. source: Azure Batch documentation, "Run tasks under user accounts"."""
    from azure.batch import models

    auto = models.AutoUserSpecification(scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN)
    return models.UserIdentity(auto_user=auto)


def settings(environment: Mapping[str, str]) -> list[models.EnvironmentSetting]:
    """Environment variables as the service wants them."""
    from azure.batch import models

    return [models.EnvironmentSetting(name=name, value=value) for name, value in environment.items()]
