"""Files of a storage provider (``storage()``, ``--default-storage-provider``), read into plain values.

Azure Blob Storage: our stager moves them straight between the node and their blob container, and the remote
Snakemake is shown the local copies (see ``node.provider_standin``). Any other provider: its plugin moves them,
inside the task. In neither case do they pass through this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.errors import StagingError

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

#: Snakemake's Workflow, Job, IOFile, StorageSettings, a plugin's provider: nothing that mypy knows.
Workflow = Any
Job = Any
IOFile = Any
Provider = Any
StorageSettings = Any

AZURE = "azure"
FS = "fs"

_MODULE_PREFIX = "snakemake_storage_plugin_"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One blob that the stager moves. ``path`` is of its local copy, relative to the start folder."""

    path: str
    provider: str  #: name or tag under which Snakemake knows the provider
    query: str  #: ``az://container/blob``
    container: str
    blob: str
    level: int = 0  #: of the job in its group: what has a higher one must not look older
    touch: bool = False  #: touch()


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """What one job reads and writes in storage, as far as the stager moves it."""

    inputs: tuple[StoredObject, ...] = ()
    outputs: tuple[StoredObject, ...] = ()
    logs: tuple[StoredObject, ...] = ()
    folders: tuple[str, ...] = ()  #: of files that the jobs make, and that nobody stores


class Providers:
    """The storage providers of one workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    @property
    def staged(self) -> list[str]:
        """Names of the plugins whose files the stager moves."""
        return [plugin for plugin in self._plugins if plugin == AZURE]

    @property
    def in_task(self) -> list[str]:
        """Names of the plugins that are needed inside a task."""
        return [plugin for plugin in self._plugins if plugin != AZURE]

    @property
    def used(self) -> set[str]:
        """Names and tags of all providers that the workflow has."""
        return set(self._known)

    def is_staged(self, f: IOFile) -> bool:
        """Whether the stager moves this file."""
        return (
            getattr(f, "is_storage", False)
            and _plugin_of(f.storage_object.provider) == AZURE
            and bool(f.storage_object.retrieve)
        )

    def describe(self, f: IOFile, path: str, level: int = 0) -> StoredObject:
        """A staged file in plain values; ``path`` is its local copy, relative to the start folder."""
        stored = f.storage_object
        touch = "touch" in f.flags
        name = self.name_of(f)
        return StoredObject(path, name, str(stored.query), stored.container_name, stored.blob_path, level, touch)

    def name_of(self, f: IOFile) -> str:
        """The name or tag of a file's provider."""
        provider = f.storage_object.provider
        return next((name for name, known in self._known.items() if known is provider), _plugin_of(provider))

    def client(self, name: str) -> BlobServiceClient:
        """The provider's own client of its storage account, with the credentials that the user gave it."""
        client: BlobServiceClient = self._known[name].bsc
        return client

    def problems(self, job: Job) -> Iterator[str]:
        """Why this job's files in storage cannot be handled, each with a way out."""
        files = [*job.input, *job.output, *job.log, *([job.benchmark] if job.benchmark else [])]
        stored = [f for f in files if getattr(f, "is_storage", False)]
        if stored:
            yield from _prefix_problems(self._workflow.storage_settings)
        outputs = {str(f) for f in job.output}
        for f in stored:
            for problem in _file_problems(f, is_output=str(f) in outputs, is_staged=self.is_staged(f)):
                yield f"rule {job.rule.name}: {f.storage_object.print_query}: {problem}"

    def check_stored(self, job: Job) -> None:
        """Raise StagingError where the ``fs`` plugin has stored an output in a folder that is not seen from here.

        Snakemake would end the whole run for a job that is done but has no output (seen with 9.27.1).
        """
        for f in job.output:
            if not getattr(f, "is_storage", False) or _plugin_of(f.storage_object.provider) != FS:
                continue
            if _is_expected(f) and not Path(f.storage_object.query).exists():
                raise StagingError(
                    f"rule {job.rule.name}: the task has stored {f.storage_object.query}, which is not to be found on "
                    "this machine. The fs storage provider needs a file system that all nodes and this machine share, "
                    "mounted at the same place. Without one leave the provider out, or use azure."
                )

    @property
    def _known(self) -> Mapping[str, Provider]:
        known: Mapping[str, Provider] = self._workflow.storage_registry._storages  # noqa: SLF001 (no public list)
        return known

    @property
    def _plugins(self) -> list[str]:
        return sorted({_plugin_of(provider) for provider in self._known.values()})


def _plugin_of(provider: Provider) -> str:
    package = type(provider).__module__.partition(".")[0]
    return package.removeprefix(_MODULE_PREFIX).replace("_", "-")


def _is_expected(f: IOFile) -> bool:
    return f.storage_object.retrieve and not any(flag in f.flags for flag in ("temp", "pipe", "service", "nodelocal"))


def _prefix_problems(settings: StorageSettings) -> Iterator[str]:
    """Local copies lie at the same relative path here and in a task, so that every path means the same."""
    local, remote = settings.local_storage_prefix, settings.remote_job_local_storage_prefix
    if Path(local).is_absolute() or os.pardir in Path(local).parts:
        yield (
            f"--local-storage-prefix {local}: a task keeps its local copies in its own folder. "
            "Leave it out, or give a path below the working directory."
        )
    if remote is not None and str(remote) not in (str(local), ".snakemake/storage"):
        yield (
            f"--remote-job-local-storage-prefix {remote}: a task keeps its local copies in its own folder, on the "
            "node's own disk. Leave it out."
        )


def _file_problems(f: IOFile, *, is_output: bool, is_staged: bool) -> Iterator[str]:
    stored = f.storage_object
    if "update" in f.flags:
        yield (
            "update() cannot be used in storage: Snakemake removes the file there when the job fails. "
            "Mark it as local(): Snakemake then runs the rule on this machine."
        )
    if _plugin_of(stored.provider) == FS and not Path(stored.query).is_absolute():
        yield (
            "a relative path of the fs storage provider means another folder in each task. "
            "Use an absolute one (--default-storage-prefix)."
        )
    if not is_staged:
        return
    if is_output and "directory" in f.flags:
        yield (
            "directory() cannot be used in Azure Blob Storage: the plugin does not find a folder again that it has "
            "stored (seen with snakemake-storage-plugin-azure 0.4.4), with any executor. Write one archive instead, "
            "or mark it as local(): Snakemake then runs the rule on this machine."
        )
    if not all(hasattr(stored, name) for name in ("container_name", "blob_path")) or not hasattr(
        stored.provider, "bsc"
    ):
        yield "this version of the azure storage plugin is not known here. Use snakemake-storage-plugin-azure 0.4.4."
        return
    expected = stored.provider.local_prefix / stored.container_name / stored.blob_path
    if Path(str(f)) != expected:
        yield f"the plugin keeps its local copy as {f}, not as {expected}. Is this a newer version of the plugin?"
    if not can_sign(stored.provider.bsc):
        yield (
            "tasks get access by a SAS for each file, and the credential of the azure storage plugin cannot make one. "
            "Sign in (az login, a managed identity, a service principal); a SAS is not enough."
        )


def can_sign(client: BlobServiceClient) -> bool:
    """Whether a client has what a SAS can be made with: the account key, or a token credential."""
    credential = getattr(client, "credential", None)
    return hasattr(credential, "account_key") or hasattr(credential, "get_token")
