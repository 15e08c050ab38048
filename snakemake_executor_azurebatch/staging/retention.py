"""Which blobs of a workdir may go (pure).

What is in a blob container, below the prefix of a workdir:

    inputs/<sha256>            content of inputs; the same content is one blob, whoever uploaded it
    large/<64 digits>          a large input, named by the stamp of its file, or at random
    packs/<sha256>             many small inputs; stays while one of them is needed
    sources/<sha256>.tar.gz    sources of the workflow
    runtime/<sha256>/...       the stager
    tasks/<task id>/...        all of one task; it is theirs whose mark is on some of it, and as long as there is
                               anything without a mark, one with it stays
        packs/...              many small outputs of the task; a pack stays while one of them is needed
    workdirs/<workdir>         one for each workdir that uses this prefix, touched by each of its runs

Usually one workdir is alone there. Two machines may have one at the same path, though: then what they share
(all but the tasks) stays. A workdir that was not heard of for STALE has its mark removed, and from then on has no
say; should it come back, it starts with nothing (see ``home``), so a wrong guess costs uploads only.

Blobs that carry no mark of ours, or a name of another shape, are never chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

#: Metadata of every blob that the controller makes: the workdir that made it.
MARK = "smk_workdir"
WORKDIRS = "workdirs/"
STALE = timedelta(days=90)

_SHARED = re.compile(r"(?:inputs|large|packs)/[0-9a-f]{64}|sources/[0-9a-f]{64}\.tar\.gz|runtime/[0-9a-f]{40,64}/[^/]+")
_OF_TASK = re.compile(
    r"(tasks/[A-Za-z0-9_-]{1,64}/)(manifest\.json|commit\.json|(?:outputs|logs)(?:\.[a-z.]+)?/.+|packs/[^/]+|streams/[^/]+|batch/.+)"
)
_MANIFEST, _RECORD = "manifest.json", "commit.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """A blob in a listing. ``name`` without the workdir's prefix; ``owner``: its mark, None for a blob without."""

    name: str
    size_bytes: int
    modified: datetime
    owner: str | None = None
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who needs what."""

    me: str  #: this workdir
    others: AbstractSet[str]  #: other workdirs with the same prefix that were heard of
    needed: AbstractSet[str]  #: blobs that stand for local files, and those that the next run will want
    adoptable: AbstractSet[str] = frozenset()  #: ids of tasks whose outputs the next run may take


@dataclass(frozen=True, slots=True)
class Doomed:
    """A blob that may go. ``last``: only after all others of its folder."""

    blob: Seen
    folder: str = ""
    last: bool = False


def choose(listing: Iterable[Seen], claims: Claims, before: datetime) -> Iterator[Doomed]:
    """The blobs of a listing, ordered by name, that nobody needs and that are older than ``before``."""
    for folder, blobs in groupby(listing, lambda seen: _folder(seen.name)):
        if folder:
            yield from _of_task(folder, list(blobs), claims, before)
        else:
            yield from (Doomed(seen) for seen in blobs if _shared_may_go(seen, claims, before))


def stale(marks: Iterable[Seen], me: str, now: datetime) -> tuple[list[Seen], set[str]]:
    """Marks of workdirs that were not heard of for long, and the other workdirs that were."""
    of_others = [mark for mark in marks if mark.name != WORKDIRS + me]
    old = [mark for mark in of_others if mark.owner is not None and mark.modified < now - STALE]
    return old, {mark.name.removeprefix(WORKDIRS) for mark in of_others if mark not in old}


def _folder(name: str) -> str:
    """``tasks/<task id>/`` of a blob below it, else nothing."""
    found = re.match(r"tasks/[^/]+/", name)
    return found[0] if found else ""


def _shared_may_go(seen: Seen, claims: Claims, before: datetime) -> bool:
    ours = seen.owner is not None and _SHARED.fullmatch(seen.name) is not None
    return ours and not claims.others and seen.name not in claims.needed and seen.modified < before


def _of_task(folder: str, blobs: list[Seen], claims: Claims, before: datetime) -> Iterator[Doomed]:
    if folder.split("/")[1] in claims.adoptable:
        return
    marked = [seen for seen in blobs if seen.owner is not None]
    if not marked or any(seen.owner in claims.others for seen in marked):
        return
    marker = next((seen for seen in marked if seen.name in (folder + _MANIFEST, folder + _RECORD)), marked[0])
    if max(seen.modified for seen in blobs) >= before:
        return
    going = {seen for seen in blobs if _OF_TASK.fullmatch(seen.name) and seen.name not in claims.needed}
    yield from (Doomed(seen, folder) for seen in blobs if seen in going and seen is not marker)
    if marker in going and all(seen.owner is not None for seen in blobs if seen not in going):
        yield Doomed(marker, folder, last=True)
