"""The blob container of a workdir: what goes up and what comes down, each whole and verified."""

from __future__ import annotations

import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import (
    AlreadyExists,
    NotFound,
    ServiceError,
    ServiceUnreachable,
    StagingError,
    service,
)
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, StoredFile
from snakemake_executor_azurebatch.staging import blocks, digests, place, ranges, tarball, unpacking
from snakemake_executor_azurebatch.staging.digests import Digests
from snakemake_executor_azurebatch.staging.place import writing
from snakemake_executor_azurebatch.staging.progress import Progress
from snakemake_executor_azurebatch.staging.quick import SMALL_BYTES, Quick
from snakemake_executor_azurebatch.staging.retention import MARK

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient, ContentSettings

STORE_ID = "store_id"
#: Up to here a file is read into memory and goes up in one request.
ONE_REQUEST_BYTES = 8 << 20
#: For more than this it is asked first whether it is there already; for less that would cost more than sending it.
ASK_FIRST_BYTES = 16 << 10
FIRST_CALL_ATTEMPTS = 2
FIRST_CALL_CONNECT_S = 4
FIRST_CALL_READ_S = 20
_THERE_ALREADY = ("BlobAlreadyExists", "ConditionNotMet")


@dataclass(frozen=True)
class Described:
    """Size and MD5 (hexadecimal, empty where nobody stored one) of a blob."""

    size_bytes: int
    md5: str


class BlobStore:
    """Reads and writes one blob container. Usable from any thread. Close it at the end."""

    def __init__(
        self,
        container: ContainerClient,
        block_workers: int = 8,
        progress: Progress | None = None,
        *,
        prefix: str = "",
        owner: str = "",
    ) -> None:
        """``prefix`` begins the names of a workdir's blobs, where it has no blob container of its own.

        ``owner`` is the mark that every blob gets which is uploaded here.
        """
        self.container = container
        self.prefix = prefix
        self.owner = owner
        #: names of all that was to be uploaded, whether it was there already or not
        self.offered: set[str] = set()
        #: of these names, those that are known to be there with the content that they promise
        self.stored: set[str] = set()
        self.uploaded_bytes = 0
        #: moves small blobs, once somebody has access for it
        self.quick: Quick | None = None
        self._counting = threading.Lock()
        self._progress = progress or Progress(lambda _: None)
        self._block_pool = DaemonPool(block_workers, thread_name_prefix="smk-blocks")
        self._made_s: float | None = None  #: on the monotonic clock, where this has made the blob container
        self.stopping = threading.Event()  #: set where the run was cancelled

    @property
    def aborted(self) -> bool:
        """Whether the run was cancelled."""
        return self.stopping.is_set()

    def abort(self) -> None:
        """Let transfers that are under way fail soon, with a StagingError, instead of holding up the end."""
        self.stopping.set()

    @contextmanager
    def _moving(self, direction: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Progress of one transfer; what is yielded fails once the run was cancelled."""
        with self._progress.moving(direction, size_bytes) as moved:

            def moved_unless_aborted(piece_bytes: int) -> None:
                if self.stopping.is_set():
                    raise StagingError("the run was cancelled")
                moved(piece_bytes)

            yield moved_unless_aborted

    def close(self) -> None:
        """Stop the upload threads; the container client stays its maker's to close."""
        if self.quick is not None:
            self.quick.close()
        self._block_pool.shutdown(cancel_futures=True)

    def ensure(self) -> str:
        """Make the blob container where it is missing and return its ``store_id``.

        The id is random, kept in the blob container's metadata, and new for a new one: what was remembered of
        a deleted one of the same name is thereby void. Raises AccessRefused, and ServiceUnreachable within
        about ten seconds.
        """
        metadata = self._first_call()
        if metadata is None:
            metadata = self._create()
        if STORE_ID not in metadata:
            with calling(f"marking the blob container {self._name}"):
                self.container.set_container_metadata({**metadata, STORE_ID: uuid.uuid4().hex})
            # Read again: of two runs that mark at once the later one counts, for both.
            metadata = self._metadata()
        return metadata[STORE_ID]

    def is_younger(self, than_s: float) -> bool:
        """Whether no blob here can be so old (seconds), since the blob container itself is not."""
        return self._made_s is not None and time.monotonic() - self._made_s < than_s

    def describe(self, blob: str) -> Described | None:
        """Size and MD5 of a blob, or None where there is none (any more). Raises ServiceError."""
        try:
            with calling(f"looking for the blob {blob}"):
                found = self.container.get_blob_client(blob).get_blob_properties()
        except NotFound:
            self.stored.discard(blob)
            return None
        return Described(found.size, bytes(found.content_settings.content_md5 or b"").hex())

    def remove(self, blob: str) -> None:
        """Remove a blob, if it is there. Raises ServiceError."""
        try:
            with calling(f"removing {blob}"):
                self.container.delete_blob(blob)
        except NotFound:
            return

    def upload_bytes(self, blob: str, data: bytes, overwrite: bool = False) -> bool:
        """Store ``data``. Returns False where the blob is there already and is not to be overwritten."""
        md5 = digests.md5_of(data)
        self.offered.add(blob)
        is_for_quick = overwrite and self.quick is not None and len(data) <= SMALL_BYTES
        if is_for_quick and self.quick and self.quick.put(blob, data, self.marks):
            self._count(len(data))
            return True
        if not overwrite and len(data) > ASK_FIRST_BYTES and self.describe(blob) is not None:
            return False
        with _unless_there(f"uploading the blob {blob}") as outcome:
            self.container.get_blob_client(blob).upload_blob(
                data,
                length=len(data),
                overwrite=overwrite,
                content_settings=_settings(md5),
                validate_content=True,
                metadata=self.marks,
            )
            self._count(len(data))
        return not outcome.there_already

    def upload_pack(self, blob: str, data: bytes) -> None:
        """Store ``data``, as a transfer that takes its time; a blob of this name that is there already is the same."""
        with self._moving("Uploading", len(data)) as moved:
            self.upload_bytes(blob, data)
            moved(len(data))

    def upload_file(
        self,
        local: Path,
        blob: str,
        known: Digests | None = None,
        overwrite: bool = False,
        unchanged: Callable[[], bool] = lambda: True,
    ) -> Described:
        """Store a file's content; a blob that is there already stays unless ``overwrite``. Returns what the blob is.

        A file of more than ONE_REQUEST_BYTES is read once. Raises OSError where the file cannot be read, StagingError
        where it is not (or no longer) ``known``, or not ``unchanged`` once it was read: then there is no blob.
        """
        if local.stat().st_size <= ONE_REQUEST_BYTES:
            data = local.read_bytes()
            md5 = digests.md5_of(data)
            self._check(local, Described(len(data), md5), known, unchanged)
            is_new = self.upload_bytes(blob, data, overwrite)
            return (None if is_new or known else self.describe(blob)) or Described(len(data), md5)
        self.offered.add(blob)
        if known is not None and not overwrite and (there := self.describe(blob)) is not None:
            return there
        return self._upload_large(blob, local, known, overwrite, unchanged)

    def read_bytes(self, blob: str, max_bytes: int) -> bytes:
        """The content of a small blob. Raises NotFound, and StagingError where it has more than ``max_bytes``."""
        if self.quick is not None and (small := self.quick.get(blob)) is not None and len(small) <= max_bytes:
            return small
        with calling(f"reading the blob {blob}"):
            content = self.container.get_blob_client(blob).download_blob()
            if content.size > max_bytes:
                raise StagingError(f"the blob {blob} has {content.size} bytes, more than {max_bytes}")
            data: bytes = content.readall()
        return data

    def read_at_once(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The contents of those small blobs that can be had at the first try; ``read_bytes`` is for the others."""
        return self.quick.get_all(blobs) if self.quick is not None else {}

    def download(self, stored: StoredFile, target: Path) -> None:
        """Bring a file or folder to ``target``, verified and in one step. Raises StagingError, ServiceError."""
        with writing(stored.path, target):
            temporary = place.beside(target)
            try:
                self.fetch(stored, temporary)
                place.put_in_place(temporary, target)
            finally:
                place.discard(temporary)

    def read_span(self, blob: str, start: int, size_bytes: int) -> bytes:
        """A part of a pack, in one request. Raises ServiceError, StagingError once the run was cancelled."""
        with calling(f"downloading the blob {blob}"), self._moving("Downloading", size_bytes) as moved:
            content = self.container.get_blob_client(blob).download_blob(offset=start, length=size_bytes)
            data: bytes = content.readall()
            moved(len(data))
        return data

    def fetch(self, stored: StoredFile, temporary: Path) -> None:
        """Bring a file or folder to the new name ``temporary``, verified, with its permission bits.

        Raises StagingError where it is not what the record says; the caller removes what is left there.
        """
        if stored.offset is not None:
            unpacking.fetch_packed(self.read_span, [(stored, temporary)])
            return
        with writing(stored.path, temporary):
            if stored.kind != DIRECTORY:
                self._fetch_verified(stored, temporary, stored.mode & 0o777)
                return
            archive = place.beside(temporary)
            try:
                self._fetch_verified(stored, archive, 0o600)
                tarball.unpack(archive, temporary)
                temporary.chmod(stored.mode & 0o777)
            except (tarfile.TarError, tarball.UnsafeArchiveError, EOFError) as error:
                raise StagingError(f"{stored.path} came back as an archive that cannot be unpacked: {error}") from error
            finally:
                place.discard(archive)

    def _fetch_verified(self, stored: StoredFile, target: Path, mode: int) -> None:
        if (content := self._small(stored)) is not None:
            place.write_new(target, content, mode)
            return
        with (
            calling(f"downloading {stored.path}"),
            self._moving("Downloading", stored.size_bytes) as moved,
            target.open("xb") as stream,
        ):
            blob = self.container.get_blob_client(stored.blob)
            found = ranges.receive(blob, stored.size_bytes, stream, self._block_pool, moved)
        # Azure Batch stores large blobs without an MD5.
        if (found.size_bytes, found.md5) != (stored.size_bytes, stored.md5 or found.md5):
            raise unpacking.not_as_stored(stored, found.size_bytes, found.md5)
        target.chmod(mode)

    def _small(self, stored: StoredFile) -> bytes | None:
        """The content of a small file, verified; None where it is to be fetched as larger ones are."""
        if (content := unpacking.carried(stored)) is not None:
            return content
        if self.quick is None or stored.size_bytes > SMALL_BYTES or self.aborted:
            return None
        data = self.quick.get(stored.blob)
        return data if data is not None and unpacking.is_as_stored(data, stored) else None

    def _upload_large(
        self, name: str, local: Path, known: Digests | None, overwrite: bool, unchanged: Callable[[], bool]
    ) -> Described:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        blob, size_bytes = self.container.get_blob_client(name), local.stat().st_size
        with _unless_there(f"uploading {local}") as outcome, self._moving("Uploading", size_bytes) as moved:
            sent = blocks.send_blocks(blob, local, self._block_pool, moved)
            found = Described(sent.size_bytes, sent.md5)
            self._check(local, found, known, unchanged)
            blob.commit_block_list(
                [BlobBlock(block_id=one) for one in sent.ids],
                content_settings=_settings(sent.md5),
                match_condition=None if overwrite else MatchConditions.IfMissing,
                metadata=self.marks,
            )
            self._count(sent.size_bytes)
        return (outcome.there_already and self.describe(name)) or found

    @staticmethod
    def _check(local: Path, found: Described, known: Digests | None, unchanged: Callable[[], bool]) -> None:
        is_known = known is None or (known.size_bytes, known.md5) == (found.size_bytes, found.md5)
        if not is_known or not unchanged():
            raise StagingError(f"{local} changed while it was being uploaded")

    @property
    def marks(self) -> dict[str, str]:
        """Metadata of each blob, which say whose it is."""
        return {MARK: self.owner} if self.owner else {}

    def _count(self, size_bytes: int) -> None:
        with self._counting:
            self.uploaded_bytes += size_bytes

    @property
    def _name(self) -> str:
        return str(self.container.container_name)

    def _first_call(self) -> dict[str, str] | None:
        """The blob container's metadata, None where it is missing; gives up soon where nobody answers."""
        for attempt in range(1, FIRST_CALL_ATTEMPTS + 1):
            try:
                return self._metadata(connect_s=FIRST_CALL_CONNECT_S, read_s=FIRST_CALL_READ_S, retry_total=0)
            except NotFound:
                return None
            except ServiceUnreachable:
                if attempt == FIRST_CALL_ATTEMPTS:
                    raise
        return None

    def _metadata(self, connect_s: float = 20, read_s: float = 60, retry_total: int = 3) -> dict[str, str]:
        with calling(f"opening the blob container {self._name} at {self._endpoint}"):
            found = self.container.get_container_properties(
                connection_timeout=connect_s, read_timeout=read_s, retry_total=retry_total
            )
        return dict(found.metadata or {})

    @property
    def _endpoint(self) -> str:
        """Where the storage account is, without a SAS that the URL may carry."""
        return f"{self.container.scheme}://{self.container.primary_hostname}"

    def _create(self) -> dict[str, str]:
        metadata = {STORE_ID: uuid.uuid4().hex}
        try:
            with calling(f"making the blob container {self._name}"):
                self.container.create_container(metadata=metadata)
            self._made_s = time.monotonic()
        except AlreadyExists:  # another run was quicker
            return self._metadata()
        return metadata


class _Outcome:
    there_already = False


@contextmanager
def _unless_there(doing: str) -> Iterator[_Outcome]:
    """A write that is content with finding the blob there already."""
    outcome = _Outcome()
    try:
        with calling(doing):
            yield outcome
    except ServiceError as error:
        if error.code not in _THERE_ALREADY:
            raise
        outcome.there_already = True


@contextmanager
def calling(doing: str) -> Iterator[None]:
    """``service``, and also what azure-core raises without any response (a checksum of the transport)."""
    from azure.core.exceptions import AzureError

    try:
        with service(doing):
            yield
    except AzureError as error:
        raise ServiceError(f"{doing}: {error.message}") from error


def _settings(md5: str) -> ContentSettings:
    from azure.storage.blob import ContentSettings

    return ContentSettings(content_md5=bytearray.fromhex(md5))
