"""A directory of a task or node, as the file operations show it.

Listings go level by level: all names of the first level, then all of the second (source: recorded exchange).

Assumed: links that lead out of the node's directory name no file; a directory has properties, but no
content; deleting a directory that is not empty without ``recursive`` is OperationInvalidForCurrentState.
"""

from __future__ import annotations

import mimetypes
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from snakemake_executor_azurebatch.emulator import calls, faults, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call, FileSlice
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.listing import page
from snakemake_executor_azurebatch.emulator.wire import Json, file_url, http_date, time_text

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Directory:
    """What the names of files are relative to, and the URL of the task or node that they belong to."""

    path: Path
    node_root: Path
    owner_url: str


def list_files(call: Call, directory: Directory) -> Answer:
    """The directory's names; with the query parameter ``recursive`` also what is below."""
    is_deep = _is_recursive(call)
    present: dict[str, Json] = {}
    for name, path in _walk(directory.path, is_deep=is_deep):
        shown = _shown(path, name, directory.owner_url)
        if shown is not None:
            present[f"{name.count('/'):05d}/{name}"] = shown
    return page(call, "files", sorted(present), lambda key: present[key], odata.FILES)


def download(call: Call, directory: Directory) -> Answer:
    """The content of the file that the URL names. A range (ocp-range) is answered with 200."""
    path, status, url = _find(call, directory)
    _check_conditions(call, status)
    if not stat.S_ISREG(status.st_mode):
        raise ServiceFault(faults.FILE_NOT_FOUND)
    part = _range(call.headers.get("ocp-range"), status.st_size)
    return Answer(200, headers=_headers(path, status, url), file=FileSlice(path, *part))


def properties(call: Call, directory: Directory) -> Answer:
    """The properties of the file that the URL names, as headers."""
    path, status, url = _find(call, directory)
    _check_conditions(call, status)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return Answer(200, headers={**_headers(path, status, url), "Content-Length": str(size)})


def delete(call: Call, directory: Directory) -> Answer:
    """Delete the file that the URL names; a directory that is not empty only with ``recursive``."""
    path, status, _ = _find(call, directory)
    is_directory = stat.S_ISDIR(status.st_mode) and not path.is_symlink()
    if is_directory and not _is_recursive(call) and any(path.iterdir()):
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", "The directory is not empty"),))
    try:
        if is_directory:
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:  # the task was quicker
        raise ServiceFault(faults.FILE_NOT_FOUND) from None
    except OSError as error:
        raise ServiceFault(faults.IO_ERROR, (("Reason", error.strerror or ""),)) from error
    return Answer(200)


def _check_conditions(call: Call, status: os.stat_result) -> None:
    """Files have no ETag, but a time of change."""
    changed = time_text(datetime.fromtimestamp(status.st_mtime, UTC))
    calls.check_conditions(call, {"eTag": "", "lastModified": changed}, is_read=True)


def _is_recursive(call: Call) -> bool:
    return call.query.get("recursive", "").lower() == "true"


def _find(call: Call, directory: Directory) -> tuple[Path, os.stat_result, str]:
    """A regular file or directory below the directory, or 404."""
    name = call.params["filePath"].rstrip("/")
    path = directory.path / name
    status = _status(path)
    is_below = ".." not in Path(name).parts and path != directory.path and path.is_relative_to(directory.path)
    if not (status and is_below and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))):
        raise ServiceFault(faults.FILE_NOT_FOUND)
    if not path.resolve().is_relative_to(directory.node_root.resolve()):
        raise ServiceFault(faults.FILE_NOT_FOUND)
    return path, status, file_url(directory.owner_url, name)


def _status(path: Path) -> os.stat_result | None:
    """None where there is nothing (any more), or a link to nothing."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _walk(directory: Path, *, is_deep: bool) -> Iterator[tuple[str, Path]]:
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield path.relative_to(directory).as_posix(), path
        if not is_deep:
            return


def _shown(path: Path, name: str, url: str) -> Json | None:
    status = _status(path)
    if status is None:
        return None
    is_directory = stat.S_ISDIR(status.st_mode)
    shown: Json = {"name": name, "url": file_url(url, name), "isDirectory": is_directory}
    if not is_directory:
        shown["properties"] = {
            "lastModified": time_text(datetime.fromtimestamp(status.st_mtime, UTC)),
            "contentLength": str(status.st_size),
            "contentType": _content_type(path),
            "fileMode": _mode(status.st_mode),
        }
    return shown


def _headers(path: Path, status: os.stat_result, url: str) -> dict[str, str]:
    return {
        "Content-Type": _content_type(path),
        "Last-Modified": http_date(datetime.fromtimestamp(status.st_mtime, UTC)),
        "ocp-batch-file-isdirectory": str(stat.S_ISDIR(status.st_mode)),
        "ocp-batch-file-mode": _mode(status.st_mode),
        "ocp-batch-file-url": quote(url, safe=""),
    }


def _content_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _mode(mode: int) -> str:
    """``0o100644`` (source: recorded exchange)."""
    return f"0o{stat.S_IFMT(mode) | stat.S_IMODE(mode):o}"


def _range(header: str | None, size_bytes: int) -> tuple[int, int]:
    """Offset and length of ``bytes=first-last``; what lies behind the end is cut off."""
    if not header:
        return 0, size_bytes
    match = _RANGE.fullmatch(header.strip())
    if not match:
        raise ServiceFault(faults.INVALID_HEADER_VALUE, (("HeaderName", "ocp-range"), ("HeaderValue", header)))
    first, last = int(match[1]), int(match[2]) if match[2] else size_bytes - 1
    if first > last or first >= size_bytes:
        raise ServiceFault(faults.INVALID_RANGE)
    return first, min(last, size_bytes - 1) - first + 1
