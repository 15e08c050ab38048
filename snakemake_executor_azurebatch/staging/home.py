"""Where the blobs of a workdir are, and how it says that it is there.

Each run touches the mark of its workdir, a small blob. Where that is gone, another workdir of the same prefix took
this one for abandoned, and may have removed what it had: it gets a new mark, with a new number, and nothing that
the index remembers of the old one is believed.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import AlreadyExists, NotFound, ServiceError
from snakemake_executor_azurebatch.naming import container_name, short_hash
from snakemake_executor_azurebatch.staging.retention import MARK, WORKDIRS
from snakemake_executor_azurebatch.staging.store import BlobStore, calling

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

NUMBER = "smk_number"
_ATTEMPTS = 5


def prefix_of(workdir: str, blob_container: str | None) -> str:
    """What the names of a workdir's blobs begin with: nothing where the blob container is its own."""
    return "" if blob_container is None else f"{container_name(workdir)}/"


def owner_of(workdir_id: str, id_file: Path) -> str:
    """What marks the blobs of a workdir: a copy of the folder, its id included, is another workdir."""
    return short_hash(workdir_id, str(id_file.stat().st_ino), length=20)


def register(store: BlobStore) -> str:
    """Touch the mark of the store's owner; the number that is in it. Raises ServiceError."""
    blob = store.container.get_blob_client(f"{store.prefix}{WORKDIRS}{store.owner}")
    for _ in range(_ATTEMPTS):
        try:
            with calling("marking the blob container as in use"):
                return _touch(blob)
        except NotFound:
            number = uuid.uuid4().hex
        except ServiceError as error:
            if error.code != "ConditionNotMet":
                raise
            continue
        try:
            with calling("marking the blob container as in use"):
                blob.upload_blob(b"", metadata={MARK: store.owner, NUMBER: number})
        except AlreadyExists:
            continue
        return number
    raise ServiceError("the mark of this working directory keeps changing: are many runs using it?")


def _touch(blob: BlobClient) -> str:
    from azure.core import MatchConditions

    found = blob.get_blob_properties()
    blob.set_blob_metadata(found.metadata, etag=found.etag, match_condition=MatchConditions.IfNotModified)
    return str(found.metadata[NUMBER])
