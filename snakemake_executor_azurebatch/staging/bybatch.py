"""Inputs that Azure Batch itself brings to a task, as resource files.

One resource file for each input while they are few. Many inputs are gathered under one prefix first, by copies
inside the storage account, and one resource file names that prefix: a request of more than 1 MiB is refused
(source: Azure Batch documentation, "RequestBodyTooLarge"). Names that arrive are numbers, so that no name of a file
can trouble a blob name or a pattern; the task's script puts everything in its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import InputFile, Sources
from snakemake_executor_azurebatch.staging.sas import LONGEST_DELEGATION, Access
from snakemake_executor_azurebatch.staging.store import BlobStore, calling
from snakemake_executor_azurebatch.staging.wrapper import HERE, SCRIPT, Arrival

#: Up to here each input has a resource file of its own: some 60 KB of the request.
MOST_SINGLE_FILES = 100
#: Each of the others costs a request to copy.
MOST_GATHERED_FILES = 20_000
COPIERS = 8
#: As long as a user delegation key allows.
LIFETIME_S = LONGEST_DELEGATION.total_seconds()
COPY_PATIENCE_S = 600.0
LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Brought:
    """One resource file: a blob that arrives as ``path``, or all blobs of a prefix that arrive below it."""

    url: str = field(repr=False)  #: of the blob, or of the blob container; with a SAS
    path: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """All that Azure Batch brings to one task."""

    files: tuple[Brought, ...]
    arrivals: tuple[Arrival, ...]
    sources: str  #: where their archive arrives; empty for none


class ServiceAccess:
    """Access that Azure Batch uses for a task: never bound to a stored access policy, as nobody would wait for one
    to act. Renewed for later tasks when a seventh of it has passed: a task that is submitted now may wait and run for
    nearly as long. Usable from any thread."""

    def __init__(self, make: Callable[[float], Access], lifetime_s: float = LIFETIME_S) -> None:
        self._make = make
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._access: Access | None = None

    def now(self) -> Access:
        """What a task that is submitted now gets. Raises ServiceError."""
        with self._lock:
            if self._access is None or self._access.expires - datetime.now(UTC) < timedelta(
                seconds=self._lifetime_s * 6 / 7
            ):
                self._access = self._make(self._lifetime_s)
            return self._access


def deliver(
    store: BlobStore, destination: str, inputs: Sequence[InputFile], sources: Sources | None, read_url: str
) -> Delivery:
    """Say what Azure Batch is to bring; gathers inputs where they are many. Raises StagingError, ServiceError."""
    files = [Brought(blob_url(read_url, script_blob(destination)), SCRIPT)]
    gathered = len(inputs) > MOST_SINGLE_FILES
    if gathered:
        prefix = f"{destination}/batch/in/"
        gather(store, [item.blob for item in inputs], prefix)
        # The service keeps the whole name of a blob below the folder.
        files.append(Brought(read_url, f"{HERE}/gathered", prefix))
        arrive = [f"{HERE}/gathered/{prefix}{number}" for number in range(len(inputs))]
    else:
        arrive = [f"{HERE}/in/{number}" for number in range(len(inputs))]
        files += [Brought(blob_url(read_url, item.blob), path) for item, path in zip(inputs, arrive, strict=True)]
    if sources is not None:
        files.append(Brought(blob_url(read_url, sources.blob), f"{HERE}/sources"))
    arrivals = (Arrival(path, item.path, item.kind, item.mode) for item, path in zip(inputs, arrive, strict=True))
    return Delivery(tuple(files), tuple(arrivals), f"{HERE}/sources" if sources is not None else "")


def script_blob(destination: str) -> str:
    """Where the script of a task is."""
    return f"{destination}/batch/run.sh"


def gather(store: BlobStore, blobs: Sequence[str], prefix: str) -> None:
    """Copy blobs to ``prefix`` with their positions as names, inside the storage account."""
    if problem := too_many(len(blobs)):
        raise StagingError(problem)
    with DaemonPool(COPIERS, thread_name_prefix="smk-copy") as workers:
        list(workers.map(lambda one: copy(store, one[1], f"{prefix}{one[0]}"), enumerate(blobs)))


def too_many(count: int) -> str:
    """Why so many inputs cannot be staged by Azure Batch; empty where they can."""
    if count <= MOST_GATHERED_FILES:
        return ""
    return (
        f"{count} input files are too many for staging by Azure Batch ({MOST_GATHERED_FILES} at most): "
        "give them as one directory(), or use azurebatch_staging=stager"
    )


def copy(store: BlobStore, blob: str, target: str) -> None:
    """Copy one blob inside the storage account. Raises StagingError, ServiceError."""
    source, copied = store.container.get_blob_client(blob), store.container.get_blob_client(target)
    until = time.monotonic() + COPY_PATIENCE_S
    with calling(f"copying the blob {blob}"):
        status = str(copied.start_copy_from_url(source.url.split("?", 1)[0])["copy_status"])
        while status == "pending" and time.monotonic() < until and not store.aborted:
            time.sleep(LOOK_AGAIN_S)
            status = str(copied.get_blob_properties().copy.status)
    if status != "success":
        raise StagingError(f"the blob {blob} could not be copied to {target}: {status}")


def blob_url(container_url: str, blob: str) -> str:
    """The URL of a blob, with the SAS of the blob container's URL."""
    base, _, sas = container_url.partition("?")
    return f"{base}/{quote(blob, safe='/~()*!.')}?{sas}"
