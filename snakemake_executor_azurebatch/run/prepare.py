"""One job's files and manifest put into blob storage; what comes out is the task to create."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch import tasks
from snakemake_executor_azurebatch.jobs import JobRequest, NeededFile
from snakemake_executor_azurebatch.lanes import SHELL, SNAKEMAKE
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import FILE, InputFile
from snakemake_executor_azurebatch.run.access import TaskAccess
from snakemake_executor_azurebatch.run.beginning import FirstUploads
from snakemake_executor_azurebatch.run.moved import inputs_of, move_by_batch, moves_by_batch
from snakemake_executor_azurebatch.staging.bybatch import ServiceAccess
from snakemake_executor_azurebatch.staging.plan import plan_inputs
from snakemake_executor_azurebatch.staging.provider import ProviderFiles
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers


def destination(task_id: str, prefix: str = "") -> str:
    """Where all is that a task leaves in the blob container; ``prefix``: the workdir's own."""
    return f"{prefix}tasks/{task_id}"


@dataclass(frozen=True, slots=True)
class Preparer:
    """Prepares the jobs of one run. Usable from any thread."""

    store: BlobStore
    transfers: Transfers
    around: tasks.Surroundings
    access: TaskAccess
    start_folder: Path
    snakemake_version: str
    provider_files: ProviderFiles
    service_access: ServiceAccess
    first_uploads: FirstUploads
    cache: protocol.CacheLimits | None = None

    def __call__(self, request: JobRequest, sources: protocol.Sources | None) -> tasks.Task:
        """Stage one job up. Raises StagingError or ServiceError."""
        self.first_uploads([request])
        wanted = inputs_of(request)
        # Azure Batch brings whole blobs only.
        manifest = self.manifest(request, sources, self._stage_up(wanted.files, whole=moves_by_batch(request)))
        around = self.access.given(request.key, self.around)
        task = tasks.task_options(request, self._tell(request, manifest), around)
        if moves_by_batch(request):
            # Nobody reads the manifest then; it says whose the task's blobs are.
            move_by_batch(task, request, manifest, wanted.opened, self.store, self.service_access.now())
        tasks.check_size(task)
        return task

    def together(self, requests: Sequence[JobRequest]) -> None:
        """Send the small inputs of many jobs ahead, in packs. Raises StagingError, ServiceError."""
        self.first_uploads(requests)
        wanted = [want for one in requests if not moves_by_batch(one) for want in one.inputs if want.kind == FILE]
        distinct = {want.local: want for want in wanted}.values()
        self.transfers.send_small([want for want in distinct if self.transfers.known(want) is None])

    def manifest(
        self, request: JobRequest, sources: protocol.Sources | None, inputs: list[InputFile]
    ) -> protocol.Manifest:
        """What the stager is told."""
        return protocol.Manifest(
            task_id=request.key,
            workdir=str(self.start_folder),
            destination=destination(request.key, self.store.prefix),
            command=self._command(request),
            # In a container the controller's own path is free, so that absolute and computed paths mean the same.
            same_path=tasks.image_of(request, self.around) is not None,
            environment=dict(request.rendered.environment) if request.rendered else {},
            sources=sources,
            inputs=[*inputs, *self.provider_files.inputs(request.stored.inputs)],
            directories=list(request.stored.folders),
            outputs=[*request.outputs, *self.provider_files.products(request.stored.outputs)],
            logs=[*request.logs, *self.provider_files.products(request.stored.logs, optional=True)],
            cache=self.cache,
            keep_files=self.around.keep_files,
            marks=self.store.marks,
        )

    def _tell(self, request: JobRequest, manifest: protocol.Manifest) -> dict[str, str]:
        """How the task learns the manifest: variables. One that is long or secret is stored."""
        blob, data = protocol.manifest_blob(manifest.destination), protocol.encode(manifest.to_json())
        told = {protocol.ENV_MANIFEST: blob}
        is_short = len(data) <= protocol.SHORT_MANIFEST_BYTES and not manifest.is_secret
        if is_short and not moves_by_batch(request):
            return {**told, protocol.ENV_MANIFEST_TEXT: protocol.as_variable(data)}
        self.store.upload_bytes(blob, data, overwrite=True)
        return told

    def _command(self, request: JobRequest) -> protocol.Command:
        if (rendered := request.rendered) is not None:
            return protocol.Command(
                kind=SHELL,
                script=rendered.texts[0],
                repetitions=list(rendered.texts[1:]),
                shells=list(rendered.shells),
                folder=request.folder,
                tmpdir=rendered.tmpdir,
                benchmark=request.benchmark,
            )
        return protocol.Command(
            kind=SNAKEMAKE,
            script=request.script,
            pins=[dict(pin) for pin in request.pins],
            snakemake_version=self.snakemake_version,
            staged_providers=list(request.staged_providers),
            task_providers=list(request.task_providers),
        )

    def _stage_up(self, wanted: Sequence[NeededFile], *, whole: bool) -> list[InputFile]:
        plan = plan_inputs(wanted, self.transfers.known_whole if whole else self.transfers.known)
        return [*plan.ready, *self.transfers.upload_missing(plan.missing, whole=whole).values()]
