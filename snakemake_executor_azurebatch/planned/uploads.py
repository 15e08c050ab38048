"""What would go up: inputs that blob storage does not have, as far as this folder's index remembers, and sources."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.staging.archive import build_archive
from snakemake_executor_azurebatch.staging.index import Index, store_ids
from snakemake_executor_azurebatch.staging.stamps import Stamp

INDEX = Path(".snakemake/azurebatch/index.sqlite")


@dataclass(frozen=True, slots=True)
class Uploads:
    """Files and bytes. A folder counts as all its files."""

    files: int = 0
    size_bytes: int = 0
    known_files: int = 0  #: believed to be blobs already: they do not move again
    known_bytes: int = 0
    source_files: int = 0
    sources_bytes: int = 0  #: of their archive, which goes up once for each content


def uploads_of(inputs: Iterable[NeededFile], sources: Sequence[Path], whole: Collection[Path] = ()) -> Uploads:
    """Of these inputs, as far as they are here; each counts once. ``whole``: those that a pack is not enough for."""
    here = {str(one.local): one for one in inputs if one.local.exists()}
    counts = {True: [0, 0], False: [0, 0]}
    with ExitStack() as stack:
        indexes = [stack.enter_context(closing(Index(INDEX, store))) for store in store_ids(INDEX)]
        for one in here.values():
            files, size_bytes = _measured(one.local)
            counted = counts[any(_knows(index, one, whole=one.local in whole) for index in indexes)]
            counted[0] += files
            counted[1] += size_bytes
    archive = build_archive(sources) if sources else None
    return Uploads(
        files=counts[False][0],
        size_bytes=counts[False][1],
        known_files=counts[True][0],
        known_bytes=counts[True][1],
        source_files=len(sources),
        sources_bytes=archive.size_bytes if archive else 0,
    )


def _measured(path: Path) -> tuple[int, int]:
    if not path.is_dir():
        return 1, path.stat().st_size
    files = size_bytes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            files += 1
            with suppress(OSError):  # a link to nothing
                size_bytes += Path(folder, name).stat().st_size
    return files, size_bytes


def _knows(index: Index, one: NeededFile, *, whole: bool) -> bool:
    try:
        blob = index.find(str(one.local), Stamp.of(one.local))
    except OSError:
        return False
    return blob is not None and blob.kind == one.kind and (blob.is_whole or not whole)
