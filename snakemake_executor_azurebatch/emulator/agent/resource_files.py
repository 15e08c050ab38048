"""Resource files: what a task needs in its working directory before its command starts.

Source: the public documentation of Azure Batch (ResourceFile).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from .failures import file_trouble, trouble, without_query
from .layout import file_mode, inside
from .listing import blob_names
from .transfer import CHUNK_BYTES, Link, below, exact, reason
from .work import Json

_AT_ONCE = 4

_CODES = {
    401: "BlobAccessDenied",
    403: "BlobAccessDenied",
    404: "BlobNotFound",
    409: "BlobAccessDenied",  # PublicAccessNotPermitted, for a URL without a SAS
}


@dataclass(frozen=True, slots=True)
class Download:
    """One blob and where it goes. The URL holds a SAS: it is not in the repr."""

    url: str
    target: Path
    file_path: str
    mode: int

    def __repr__(self) -> str:
        return f"Download({without_query(self.url)!r}, {self.file_path!r})"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where resource files come from and go to, beside what they say themselves."""

    link: Link
    wd: Path
    auto_storage_url: str | None = None


async def fetch(destination: Destination, resource_files: Iterable[Json]) -> None:
    """Place all resource files in the working directory. Raises TaskTrouble for the first that cannot be placed."""
    downloads = [item for spec in resource_files for item in await _expand(destination, spec)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Download) -> None:
        async with gate:
            await _download(destination.link, item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in downloads:
                group.create_task(one(item))
    except ExceptionGroup as several:  # the first ends the others, so it is what went wrong
        raise several.exceptions[0] from None


async def _expand(destination: Destination, spec: Json) -> list[Download]:
    if spec.get("identityReference"):
        source = without_query(str(spec.get("httpUrl") or spec.get("storageContainerUrl")))
        message = "identityReference: the local service does not emulate managed identities"
        raise trouble("BlobAccessDenied", BlobSource=source, Message=message)
    if spec.get("httpUrl"):
        return [_plan(str(spec["httpUrl"]), str(spec.get("filePath") or ""), spec, destination.wd)]
    container = _container_url(destination, spec)
    folder = str(spec.get("filePath") or "")
    names = await blob_names(destination.link, container, str(spec.get("blobPrefix") or ""))
    return [
        _plan(below(container, name), f"{folder}/{name}" if folder else name, spec, destination.wd)
        for name in names
        if not name.endswith("/")  # a marker that some tools leave for an empty folder: no file can have its name
    ]


def _container_url(destination: Destination, spec: Json) -> str:
    if spec.get("storageContainerUrl"):
        return str(spec["storageContainerUrl"])
    if destination.auto_storage_url is None:
        message = "autoStorageContainerName: the local account has no auto-storage account"
        raise trouble("ResourceContainerListMiscError", Message=message)
    return below(destination.auto_storage_url, str(spec.get("autoStorageContainerName") or ""))


def _plan(url: str, file_path: str, spec: Json, wd: Path) -> Download:
    try:
        return Download(url, inside(wd, file_path), file_path, file_mode(spec.get("fileMode")))
    except ValueError as error:
        raise trouble("ResourceFileCreateFailed", FilePath=file_path, Message=str(error)) from error


async def _download(link: Link, item: Download) -> None:
    about = {"BlobSource": without_query(item.url), "FilePath": item.file_path}
    try:
        async with link.connect().get(exact(item.url)) as response:
            if response.status != 200:
                status = f"HTTP {response.status} {response.headers.get('x-ms-error-code', '')}".strip()
                raise trouble(_CODES.get(response.status, "BlobDownloadMiscError"), **about, Message=status)
            await _store(link, response, item)
    except TimeoutError as error:
        raise trouble("BlobDownloadTimedOut", **about) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise trouble("BlobDownloadMiscError", **about, Message=reason(error)) from error


async def _store(link: Link, response: aiohttp.ClientResponse, item: Download) -> None:
    descriptor = _create(item)
    try:
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            link.write(descriptor, chunk)  # not in a thread: a cancelled run must not close what it still writes
        os.fchmod(descriptor, item.mode)
    except (aiohttp.ClientError, TimeoutError):  # some are OSErrors too, but none is the file's
        raise
    except OSError as error:
        raise file_trouble("ResourceFileWriteFailed", error, FilePath=item.file_path) from error
    finally:
        os.close(descriptor)


def _create(item: Download) -> int:
    try:
        item.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_trouble("ResourceDirectoryCreateFailed", error, FilePath=item.file_path) from error
    try:
        item.target.unlink(missing_ok=True)  # of an earlier attempt, perhaps read-only
        return os.open(item.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise file_trouble("ResourceFileCreateFailed", error, FilePath=item.file_path) from error
