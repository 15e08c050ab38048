"""Stores what the command left: outputs, logs, and on failure what the task printed.

Blob names, under the task's prefix:

    outputs/<path>                  a file with a plain relative path
    outputs.quoted/<quoted path>    any other file, percent-encoded as a whole
    outputs.hashed/<sha256>         where even that would be too long
    outputs.folders.../<path>.tar   a folder, in the same three ways
    logs.../...                     logs, likewise
    packs/...                       many small outputs or logs together: see ``packing``
    streams/stdout.txt, streams/stderr.txt

The smallest files that have a blob of their own are in the commit record as well.
No two paths share a name: the prefixes differ, and each way is one-to-one. Files of a storage provider have a blob
container and a name of their own.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence
from urllib.parse import quote

from .blob import Container
from .elsewhere import Elsewhere
from .errors import MissingOutput, StageError, why
from .limits import Limits
from .md5 import base64_of, digest
from .parallel import each
from .protocol import DIRECTORY, Product, StoredFile
from .report import say
from .upload import Stored, Upload, upload_file
from .workspace import Workspace

#: source: Azure Storage documentation, "Naming and referencing containers, blobs, and metadata" (1,024
#: characters); what is left is for the task's prefix.
MOST_NAME_CHARACTERS = 700


class Found(NamedTuple):
    """A product that is there."""

    product: Product
    place: str
    mode: int
    size_bytes: int


class Exit(NamedTuple):
    """Where products go from and to."""

    store: Container
    workspace: Workspace
    destination: str
    limits: Limits
    elsewhere: Elsewhere


def blob_name(destination: str, area: str, path: str, kind: str) -> str:
    """The blob of a product; ``area`` is ``outputs`` or ``logs``. See the top of this file."""
    base, suffix = ("%s.folders" % area, ".tar") if kind == DIRECTORY else (area, "")
    if _plain(path) and len(path) <= MOST_NAME_CHARACTERS:
        return "%s/%s/%s%s" % (destination, base, path, suffix)
    quoted = quote(path, safe="", errors="surrogateescape")
    if len(quoted) <= MOST_NAME_CHARACTERS:
        return "%s/%s.quoted/%s%s" % (destination, base, quoted, suffix)
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return "%s/%s.hashed/%s%s" % (destination, base, digest, suffix)


def _plain(path: str) -> bool:
    segments = path.split("/")
    return all(
        segment and not segment.endswith(".") and all(c.isalnum() or c in " _.-+=,@~()" for c in segment)
        for segment in segments
    )


def store_outputs(way: Exit, outputs: Sequence[Product]) -> List[StoredFile]:
    """Store all outputs, or none when a required one is missing. Raises MissingOutput, StageError, OSError."""
    problems = {product.path: _problem(way, product) for product in outputs}
    wrong = {path: problem for path, problem in problems.items() if problem}
    if wrong:
        raise MissingOutput("; ".join("%s %s" % item for item in wrong.items()), list(wrong))
    return _store(way, "outputs", [found for found in (_find(way, product) for product in outputs) if found])


def store_logs(way: Exit, logs: Sequence[Product]) -> List[StoredFile]:
    """Store the logs that are there. Raises StageError, OSError."""
    usable = []
    for product in logs:
        problem = _problem(way, product)
        if problem and _find(way, product):
            say("log %s %s" % (product.path, problem))
        elif not problem:
            usable.append(product)
    return _store(way, "logs", [found for found in (_find(way, product) for product in usable) if found])


def store_streams(way: Exit, task_dir: Optional[str]) -> List[StoredFile]:
    """Store the ends of stdout.txt and stderr.txt of the task, where they are known. Raises StageError."""
    stored = []
    for name in ("stdout.txt", "stderr.txt"):
        path = os.path.join(task_dir or "", name)
        if task_dir and os.path.isfile(path):
            blob = "%s/streams/%s" % (way.destination, name)
            tail = _tail(path, way.limits.stream_bytes)
            with Upload(way.store, blob, len(tail), way.limits) as upload:
                upload.write(tail)
                done = upload.finish()
            stored.append(StoredFile(name, blob, done.size_bytes, done.md5))
    return stored


def _problem(way: Exit, product: Product) -> Optional[str]:
    """What is wrong with a product, in words that follow its path; None where nothing is."""
    found = _find(way, product)
    if found is None:
        return None if product.optional else "was not made"
    wanted = stat.S_ISDIR if product.kind == DIRECTORY else stat.S_ISREG
    if not wanted(found.mode):
        return "is %s, but was declared as a %s" % (_kind(found.mode), product.kind)
    return None


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "neither file nor directory"


def _find(way: Exit, product: Product) -> Optional[Found]:
    place = way.workspace.locate(product.path)
    try:
        status = os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Found(product, place, status.st_mode, status.st_size)


def _store(way: Exit, area: str, found: Sequence[Found]) -> List[StoredFile]:
    """One level after the other, as what is stored together may get any order of times."""
    done: Dict[Found, StoredFile] = {}
    for level in sorted({item.product.level for item in found}):
        here = [item for item in found if item.product.level == level]
        done.update(zip(here, _store_level(way, area, here)))
    return list(_with_content(way, found, [done[item] for item in found]))


def _with_content(way: Exit, found: Sequence[Found], stored: Sequence[StoredFile]) -> Iterator[StoredFile]:
    """The same, the smallest with their content, as long as there is room for it."""
    room_bytes = way.limits.record_bytes
    for item, one in zip(found, stored):
        is_alone = one.kind != DIRECTORY and one.offset is None and not one.container_url
        if is_alone and one.size_bytes <= room_bytes:
            content = _beginning(item.place, one.size_bytes + 1)
            if digest(content).hex() == one.md5:  # else it has changed since, and what was stored counts
                room_bytes -= one.size_bytes
                one = replace(one, content=base64_of(content))  # noqa: PLW2901
        yield one


def _beginning(path: str, most_bytes: int) -> bytes:
    """Nothing where it cannot be read any more."""
    try:
        with open(path, "rb") as stream:
            return stream.read(most_bytes)
    except OSError:
        return b""


def _store_level(way: Exit, area: str, found: Sequence[Found]) -> List[StoredFile]:
    """Small files side by side, the smallest in packs; a large one or a folder alone, as its blocks go side by side."""
    done = _store_packed(way, area, found)
    small = [
        item
        for item in found
        if stat.S_ISREG(item.mode) and item.size_bytes <= way.limits.block_bytes and item.product.path not in done
    ]
    stored = each(lambda item: _store_one(way, area, item), small, way.limits.workers)
    done.update((item.product.path, one) for item, one in zip(small, stored))
    return [done.get(item.product.path) or _store_one(way, area, item) for item in found]


def _store_packed(way: Exit, area: str, found: Sequence[Found]) -> Dict[str, StoredFile]:
    """Store the smallest files together, where they are many; by path."""
    tiny = [
        item
        for item in found
        if stat.S_ISREG(item.mode) and item.size_bytes <= way.limits.small_bytes and not item.product.container_url
    ]
    if len(tiny) < way.limits.many:
        return {}
    from .packs_out import Member, store_packs  # most tasks need none

    members = [Member(item.product.path, item.place, stat.S_IMODE(item.mode), item.size_bytes) for item in tiny]
    return {
        one.path: one for one in store_packs(way.store, "%s/packs/%s" % (way.destination, area), members, way.limits)
    }


def _store_one(way: Exit, area: str, item: Found) -> StoredFile:
    product = item.product
    blob = product.blob or blob_name(way.destination, area, product.path, product.kind)
    store = way.elsewhere.container(product.container_url) if product.container_url else way.store
    try:
        if product.kind == DIRECTORY:
            done = _store_folder(way, item.place, blob)
        else:
            done = upload_file(store, item.place, blob, way.limits)
    except OSError as error:
        raise StageError("%s: cannot be read: %s" % (product.path, why(error))) from error
    mode, url = stat.S_IMODE(item.mode), product.container_url.partition("?")[0]
    return StoredFile(product.path, blob, done.size_bytes, done.md5, mode, product.kind, url)


def _store_folder(way: Exit, folder: str, blob: str) -> Stored:
    from .archive import pack, packed_size  # tarfile is heavy, and most tasks need none

    with Upload(way.store, blob, packed_size(folder), way.limits) as upload:
        pack(folder, upload)
        return upload.finish()


def _tail(path: str, most_bytes: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - most_bytes))
        return stream.read(most_bytes)
