"""Removes what ``retention`` chose from blob storage, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.staging.index import Index, paths_of
from snakemake_executor_azurebatch.staging.retention import MARK, WORKDIRS, Claims, Doomed, Seen, choose, stale
from snakemake_executor_azurebatch.staging.stamps import Stamp
from snakemake_executor_azurebatch.staging.store import BlobStore, calling

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

#: Blobs in one request (source: "Blob Batch", at most 256 subrequests).
BATCH = 256
#: Accounts with a hierarchical namespace list their folders as blobs with this metadata; empty ones stay.
IS_FOLDER = "hdi_isfolder"
#: How long the end of a run may take for this.
AT_MOST_S = 30.0


@dataclass(slots=True)
class Swept:
    """What a sweep did."""

    removed: int = 0
    removed_bytes: int = 0
    refused: int = 0  #: could not be removed, or changed meanwhile
    in_time: bool = True  #: False: there is more to remove, for the next run

    def __str__(self) -> str:
        parts = []
        if self.removed:
            parts.append(f"Removed {_blobs(self.removed)} ({shown_bytes(self.removed_bytes)}) that nothing here needs.")
        if self.refused:
            parts.append(f"{_blobs(self.refused)} could not be removed; the next run tries again.")
        if not self.in_time:
            parts.append("There was no time to remove all that may go: the next run goes on with it.")
        return " ".join(parts)


def sweep(
    store: BlobStore,
    index: Index,
    keep_s: float,
    *,
    adoptable: AbstractSet[str] = frozenset(),
    at_most_s: float = AT_MOST_S,
) -> Swept:
    """Remove blobs of this workdir that nothing needs and that are at least ``keep_s`` seconds old.

    ``adoptable``: ids of tasks whose outputs a later run may take over.
    To be called while no other run of this workdir can be alive. Raises ServiceError, StagingError.
    """
    now = datetime.now(UTC)
    before = now - timedelta(seconds=keep_s) if keep_s else datetime.max.replace(tzinfo=UTC)
    ends_s = time.monotonic() + at_most_s
    swept = Swept()

    def goes_on() -> bool:
        swept.in_time = swept.in_time and time.monotonic() < ends_s
        return swept.in_time and not store.aborted

    standing = needed_blobs(index, goes_on)
    if standing is None:
        return swept
    needed = {name.removeprefix(store.prefix) for name in standing | _wanted_again(store)}
    claims = Claims(store.owner, _other_workdirs(store, now), needed, adoptable)
    chosen = choose(_while(goes_on, _listed(store)), claims, before)
    failed_folders: set[str] = set()
    last: list[Doomed] = []
    for some in _batches(_first(chosen, last)):
        if not goes_on():
            return swept
        failed_folders |= _remove(store, some, swept)
    for some in _batches(iter([doomed for doomed in last if doomed.folder not in failed_folders])):
        if not goes_on():
            break
        _remove(store, some, swept)
    return swept


def needed_blobs(index: Index, goes_on: Callable[[], bool]) -> set[str] | None:
    """The blobs that local files stand for as they are now; what stands for nothing any more is forgotten.

    Forgotten first: a file that comes back, with its disk perhaps, must not be believed to be a blob that is gone.
    None where ``goes_on`` said no before all files were looked at. Raises StagingError.
    """
    rows = index.rows()
    standing = []
    for path, stamp, _ in rows:
        if not goes_on():
            return None
        standing.append(_stands(path, stamp))
    index.forget_all((path, ref.blob) for (path, _, ref), stands in zip(rows, standing, strict=True) if not stands)
    return {ref.blob for (_, _, ref), stands in zip(rows, standing, strict=True) if stands}


def _stands(text: str, stamp: Stamp) -> bool:
    """Whether the file is as it was; one that cannot be looked at is given the benefit of the doubt."""
    paths = paths_of(text)
    for path in paths:
        try:
            if Stamp.of(Path(path)) == stamp:
                return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
    return not paths


def _wanted_again(store: BlobStore) -> set[str]:
    """The stager and the sources of this run are those of the next one, most probably."""
    areas = tuple(store.prefix + area for area in ("sources/", "runtime/"))
    return {name for name in store.offered if name.startswith(areas)}


def _other_workdirs(store: BlobStore, now: datetime) -> set[str]:
    """Other workdirs that use this prefix. Abandoned ones lose their mark, unless they touch it just now."""
    old, others = stale(_listed(store, WORKDIRS), store.owner, now)
    swept = Swept()
    _remove(store, [Doomed(mark) for mark in old], swept)
    if swept.refused:
        others |= {mark.name.removeprefix(WORKDIRS) for mark in old}
    return others


def _listed(store: BlobStore, area: str = "") -> Iterator[Seen]:
    with calling("listing the blobs of this working directory"):
        for blob in store.container.list_blobs(name_starts_with=store.prefix + area, include=["metadata"]):
            if (blob.metadata or {}).get(IS_FOLDER) != "true":
                yield _seen(blob, store.prefix)


def _seen(blob: BlobProperties, prefix: str) -> Seen:
    owner = (blob.metadata or {}).get(MARK)
    return Seen(blob.name.removeprefix(prefix), blob.size or 0, blob.last_modified, owner, blob.etag)


def _while(goes_on: Callable[[], bool], listing: Iterator[Seen]) -> Iterator[Seen]:
    """A listing that is cut off gives no half folder: the last one is left out."""
    waiting: list[Seen] = []
    folder = ""
    for seen in listing:
        here = "/".join(seen.name.split("/")[:2])
        if here != folder:
            yield from waiting
            waiting, folder = [], here
            if not goes_on():
                return
        waiting.append(seen)
    yield from waiting


def _first(chosen: Iterable[Doomed], last: list[Doomed]) -> Iterator[Doomed]:
    """All but those that have to wait, which are put aside."""
    for doomed in chosen:
        if doomed.last:
            last.append(doomed)
        else:
            yield doomed


def _batches(doomed: Iterator[Doomed]) -> Iterator[list[Doomed]]:
    while some := list(islice(doomed, BATCH)):
        yield some


def _remove(store: BlobStore, doomed: list[Doomed], swept: Swept) -> set[str]:
    """Remove some blobs, each unless it has changed; the folders in which one could not be removed."""
    from azure.core import MatchConditions

    if not doomed:
        return set()
    names = [
        {
            "name": store.prefix + one.blob.name,
            "etag": one.blob.etag,
            "match_condition": MatchConditions.IfNotModified,
        }
        for one in doomed
    ]
    with calling(f"removing {_blobs(len(names))}"):
        answers = list(store.container.delete_blobs(*names, raise_on_any_failure=False))
    failed = set()
    for one, answer in zip(doomed, answers, strict=True):
        if answer.status_code in (200, 202, 404):
            swept.removed += 1
            swept.removed_bytes += one.blob.size_bytes
        else:
            swept.refused += 1
            failed.add(one.folder)
    return failed


def _blobs(count: int) -> str:
    return f"{count} blob{'' if count == 1 else 's'}"
