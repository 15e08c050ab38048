"""Output files: what a task's end sends to blob storage.

Source: the public documentation of Azure Batch (OutputFile, "Persist task data to Azure Storage").
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from .failures import TaskTrouble, file_trouble, trouble, without_query
from .patterns import FilePattern, blob_name, parse
from .transfer import STORAGE_HEADERS, Link, below, exact, reason, with_query
from .work import Json

#: A file up to this size is one request. source: any size to 5,000 MiB would do; this bounds memory.
SINGLE_BYTES = 8 * 1024 * 1024
#: source: public documentation (Put Block List: at most 50,000 blocks)
_MOST_BLOCKS = 50_000

_CODES = {
    401: "FileUploadAccessDenied",
    403: "FileUploadAccessDenied",
    404: "FileUploadContainerNotFound",
    409: "FileUploadConflict",
    412: "FileUploadConflict",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """One file and the blob it becomes."""

    source: Path
    blob: str
    container_url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def wanted(output_files: Iterable[Json], exit_code: int) -> list[Json]:
    """The output files whose condition holds. Absent means taskcompletion; letters' case does not matter."""
    holds = {"taskcompletion", "tasksuccess" if exit_code == 0 else "taskfailure"}
    return [spec for spec in output_files if _condition(spec) in holds]


def _condition(spec: Json) -> str:
    options = spec.get("uploadOptions") or {}
    return str(options.get("uploadCondition") or "taskcompletion").lower()


def plan(output_files: Iterable[Json], wd: Path, environment: Mapping[str, str]) -> list[Upload]:
    """Every file there is to upload. No match is no error. Raises TaskTrouble for what is not emulated."""
    return [upload for spec in output_files for upload in _plan_one(spec, wd, environment)]


def _plan_one(spec: Json, wd: Path, environment: Mapping[str, str]) -> Iterator[Upload]:
    container = (spec.get("destination") or {}).get("container") or {}
    url = str(container.get("containerUrl") or "")
    if container.get("identityReference"):
        message = "identityReference: the local service does not emulate managed identities"
        raise trouble("FileUploadAccessDenied", ContainerUrl=without_query(url), Message=message)
    headers = {str(item["name"]): str(item.get("value") or "") for item in container.get("uploadHeaders") or ()}
    pattern = parse(str(spec.get("filePattern") or ""), environment)
    for source, relative in _matches(pattern, wd):
        name = blob_name(container.get("path"), relative, wildcard=pattern.rest is not None)
        yield Upload(source, name, url, headers)


def _matches(pattern: FilePattern, wd: Path) -> Iterator[tuple[Path, str]]:
    """Regular files with their path below the pattern's base, ordered."""
    base = wd / pattern.base
    if pattern.rest is None:
        if base.is_file():
            yield base, base.name
        return
    for folder, folders, names in os.walk(base):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            relative = path.relative_to(base).as_posix()
            if pattern.matches(relative) and path.is_file():
                yield path, relative


async def send(link: Link, uploads: Iterable[Upload]) -> None:
    """Upload one after the other. Raises TaskTrouble for the first that fails."""
    for upload in uploads:
        await _send_one(link, upload)


async def _send_one(link: Link, upload: Upload) -> None:
    details = {"FilePath": str(upload.source), "ContainerUrl": without_query(upload.container_url)}
    try:
        size_bytes = upload.source.stat().st_size
        if size_bytes <= SINGLE_BYTES:
            data = await asyncio.to_thread(upload.source.read_bytes)
            headers = {**STORAGE_HEADERS, **upload.headers, "x-ms-blob-type": "BlockBlob"}
            await _put(link, below(upload.container_url, upload.blob), data, headers, details)
        else:
            await _send_blocks(link, upload, size_bytes, details)
    except TimeoutError as error:
        raise trouble("FileUploadTimedOut", **details) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise trouble("FileUploadMiscError", **details, Message=reason(error)) from error
    except OSError as error:
        raise file_trouble("FileUploadMiscError", error, **details) from error


async def _send_blocks(link: Link, upload: Upload, size_bytes: int, details: Mapping[str, str]) -> None:
    block_bytes = max(SINGLE_BYTES, -(-size_bytes // _MOST_BLOCKS))
    url = below(upload.container_url, upload.blob)
    ids: list[str] = []
    with upload.source.open("rb") as stream:
        while block := await asyncio.to_thread(stream.read, block_bytes):
            ids.append(base64.b64encode(b"%08d" % len(ids)).decode())
            # "=" is the only character of such an id that a query must not hold
            query = f"comp=block&blockid={ids[-1].replace('=', '%3D')}"
            await _put(link, with_query(url, query), block, STORAGE_HEADERS, details)
    listing = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listing}</BlockList>'.encode()
    headers = {**STORAGE_HEADERS, **upload.headers}
    await _put(link, with_query(url, "comp=blocklist"), body, headers, details)


async def _put(link: Link, url: str, data: bytes, headers: Mapping[str, str], details: Mapping[str, str]) -> None:
    async with link.connect().put(exact(url), data=io.BytesIO(data), headers=headers) as response:
        if response.status == 201:
            return
        raise _refusal(response, details)


def _refusal(response: aiohttp.ClientResponse, details: Mapping[str, str]) -> TaskTrouble:
    said = f"HTTP {response.status} {response.headers.get('x-ms-error-code', '')}".strip()
    return trouble(_CODES.get(response.status, "FileUploadMiscError"), **details, Message=said)
