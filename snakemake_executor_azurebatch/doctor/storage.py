"""The storage account: write, read and delete a small blob, as a run does."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.doctor import mends
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed
from snakemake_executor_azurebatch.errors import AccessRefused, NotFound, ServiceError, ServiceUnreachable
from snakemake_executor_azurebatch.options import Storage
from snakemake_executor_azurebatch.staging.store import calling

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient, ContainerClient

ABOUT = "storage account"
CONTENT = b"written by snakemake-azurebatch doctor\n"
#: Wrong names and closed networks are to be told in seconds.
QUICK: dict[str, Any] = {"retry_total": 1, "connection_timeout": 5, "read_timeout": 20}


def check_storage(blobs: BlobServiceClient, storage: Storage, container: str) -> list[Finding]:
    """In ``container`` if it is there, else in one that is made for this and deleted."""
    try:
        where = _there(blobs, container)
    except ServiceError as error:
        return [_unreachable(error, storage)]
    return [
        passed(ABOUT, f"{storage.blob_url} answers"),
        _round_trip(where or _probe(blobs), storage, is_probe=where is None),
        _signature(blobs, storage),
    ]


def _there(blobs: BlobServiceClient, name: str) -> ContainerClient | None:
    container = blobs.get_container_client(name)
    try:
        with calling(f"asking {container.scheme}://{container.primary_hostname}"):
            container.get_container_properties(**QUICK)
    except NotFound:
        return None
    return container


def _probe(blobs: BlobServiceClient) -> ContainerClient:
    return blobs.get_container_client(f"smk-doctor-{uuid.uuid4().hex}")


def _round_trip(container: ContainerClient, storage: Storage, *, is_probe: bool) -> Finding:
    about = "storage write, read, delete"
    blob = container.get_blob_client(f"doctor/{uuid.uuid4().hex}")
    try:
        with calling("writing, reading and deleting a blob"):
            if is_probe:
                container.create_container(**QUICK)
            blob.upload_blob(CONTENT, **QUICK)
            read = blob.download_blob(**QUICK).readall()
            blob.delete_blob(**QUICK)
    except ServiceError as error:
        return failed(about, str(error), mends.storage_access(storage))
    finally:
        _clean_up(container, is_probe=is_probe)
    if read != CONTENT:
        return failed(about, "what was read is not what was written", mends.storage_account())
    where = "a blob container made for this" if is_probe else container.container_name
    return passed(about, f"in {where}; nothing of it is left")


def _clean_up(container: ContainerClient, *, is_probe: bool) -> None:
    if is_probe:
        with suppress(ServiceError), calling("deleting the blob container of the probe"):
            container.delete_container(**QUICK)


def _signature(blobs: BlobServiceClient, storage: Storage) -> Finding:
    """Whether tasks can be given access: signed with the key, else with one that only those with a role get."""
    about = "signatures for tasks"
    if storage.key:
        return passed(about, "made with the account's key")
    now = datetime.now(UTC)
    try:
        with calling("asking for a key to sign with"):
            blobs.get_user_delegation_key(now, now + timedelta(hours=1), **QUICK)
    except ServiceError as error:
        return failed(about, str(error), mends.storage_role(storage.name))
    return passed(about, "made with a key for you, seven days at most")


def _unreachable(error: ServiceError, storage: Storage) -> Finding:
    if isinstance(error, ServiceUnreachable):
        return failed(ABOUT, f"{error}: no such storage account, or no network", mends.storage_account())
    if isinstance(error, AccessRefused):
        why = "the key is not that of this account" if storage.key else "you are signed in, but have no role there"
        return failed(ABOUT, f"{error}: {why}", mends.storage_access(storage))
    return failed(ABOUT, str(error), mends.storage_account())
