"""Files that the Azure storage plugin knows, as the stager gets them: looked at here, but never read or written.

Each comes with a SAS of its own, good for one blob, to read it or to create it, and for a limited time: a task
can reach what its job has declared, and nothing else in the user's blob containers. It is signed with the
plugin's own credential: the account key where the plugin has one, else a user delegation key. Nobody can extend it,
and how long a task waits and works is not known before: it lasts as long as a user delegation key can.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import AccessRefused, AlreadyExists, NotFound, StagingError, service
from snakemake_executor_azurebatch.node.protocol import InputFile, Product
from snakemake_executor_azurebatch.staging.sas import LONGEST_DELEGATION, times_and_signing
from snakemake_executor_azurebatch.storage import StoredObject

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient, ContainerClient

READ, WRITE = "r", "cw"

#: Azure's own mark of a folder, where the account has a hierarchical namespace.
FOLDER_MARK = "hdi_isfolder"

ROLES = (
    "Tasks get access to files in the storage account {} by signatures, for which you need the role Storage Blob Data "
    "Contributor or Storage Blob Delegator for this account."
)

#: How many inputs of one job are looked at together.
LOOKERS = 8


class Signer:
    """Makes SAS for single blobs of one storage account. Usable from any thread."""

    def __init__(self, client: BlobServiceClient, lifetime_s: float) -> None:
        self._client = client
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._key: tuple[tuple[datetime, datetime], dict[str, Any]] | None = None  #: for user delegation

    def container_url(self, container: ContainerClient, blob: str, permission: str) -> str:
        """The URL of the blob container with a SAS for one blob. It is a secret. Raises ServiceError."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        (start, expires), signing = self._times_and_signing()
        token = generate_blob_sas(
            account_name=str(container.account_name),
            container_name=container.container_name,
            blob_name=blob,
            permission=BlobSasPermissions.from_string(permission),
            start=start,
            expiry=expires,
            protocol="https,http" if container.scheme == "http" else "https",
            **signing,
        )
        return f"{container.url.split('?', 1)[0]}?{token}"

    def _times_and_signing(self) -> tuple[tuple[datetime, datetime], dict[str, Any]]:
        """A user delegation key costs a request, and is used for a seventh of its time."""
        account_key = getattr(self._client.credential, "account_key", None)
        if account_key:
            return times_and_signing(self._lifetime_s, account_key, None)
        with self._lock:
            now = datetime.now(UTC)
            if self._key is None or self._key[0][1] - now < timedelta(seconds=self._lifetime_s * 6 / 7):
                try:
                    self._key = times_and_signing(self._lifetime_s, None, self._client)
                except AccessRefused as error:
                    raise AccessRefused(f"{error}. {ROLES.format(self._client.account_name)}", error.code) from error
            return self._key


@dataclass(frozen=True)
class ProviderFiles:
    """Turns what a job declares into entries of its manifest. Usable from any thread."""

    client: Callable[[str], BlobServiceClient]  #: of a provider, by its name or tag
    lifetime_s: float = LONGEST_DELEGATION.total_seconds()  #: of every SAS, from when it is made
    _signers: dict[str, Signer] = field(default_factory=dict)
    _made: set[tuple[str, str]] = field(default_factory=set)  #: blob containers that are there
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def inputs(self, wanted: Sequence[StoredObject]) -> list[InputFile]:
        """Size, MD5 and version of each blob. Raises StagingError for a missing one, ServiceError."""
        with DaemonPool(min(len(wanted), LOOKERS) or 1, thread_name_prefix="azurebatch-provider") as pool:
            return list(pool.map(self._input, wanted))

    def products(self, wanted: Sequence[StoredObject], *, optional: bool = False) -> list[Product]:
        """Where outputs or logs go. Makes their blob containers where they are missing. Raises ServiceError."""
        return [self._product(one, optional) for one in wanted]

    def _input(self, wanted: StoredObject) -> InputFile:
        container = self._container(wanted)
        with service(f"looking for {wanted.query}"):
            found = container.get_blob_client(wanted.blob).get_blob_properties()
        if (found.metadata or {}).get(FOLDER_MARK) == "true":
            raise StagingError(f"{wanted.query} is a folder: only single blobs can be inputs")
        return InputFile(
            wanted.path,
            wanted.blob,
            found.size,
            bytes(found.content_settings.content_md5 or b"").hex(),
            container_url=self._signer(wanted).container_url(container, wanted.blob, READ),
            etag=str(found.etag or ""),
        )

    def _product(self, wanted: StoredObject, optional: bool) -> Product:
        container = self._container(wanted)
        self._ensure(wanted, container)
        url = self._signer(wanted).container_url(container, wanted.blob, WRITE)
        return Product(
            wanted.path,
            optional=optional,
            blob=wanted.blob,
            container_url=url,
            level=wanted.level,
            touch=wanted.touch,
        )

    def _container(self, wanted: StoredObject) -> ContainerClient:
        return self.client(wanted.provider).get_container_client(wanted.container)

    def _signer(self, wanted: StoredObject) -> Signer:
        with self._lock:
            if wanted.provider not in self._signers:
                self._signers[wanted.provider] = Signer(self.client(wanted.provider), self.lifetime_s)
            return self._signers[wanted.provider]

    def _ensure(self, wanted: StoredObject, container: ContainerClient) -> None:
        """The plugin makes a missing blob container, too."""
        key = (wanted.provider, wanted.container)
        with self._lock:
            if key in self._made:
                return
        try:
            with service(f"looking for the blob container {wanted.container}"):
                container.get_container_properties()
        except NotFound:
            # somebody who was quicker is as good
            with suppress(AlreadyExists), service(f"making the blob container {wanted.container}"):
                container.create_container()
        with self._lock:
            self._made.add(key)
