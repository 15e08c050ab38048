"""Inputs that lie in packs: see ``packing`` for what a pack is.

With a node cache the pack is kept there as a whole, like any other blob, and every task cuts from it what it needs.
Where a task needs little of a large pack, what it needs is kept alone. Without a cache, only what is needed is read,
in few requests. Each member is checked by its own MD5, and a task gets a file of its own: what it does to that harms
nobody.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from .download import Wanted
from .errors import StageError, disk_error
from .fetch import Fetch
from .limits import MANY, MIB
from .md5 import digest
from .packing import spans_of
from .placing import place_at
from .protocol import InputFile
from .report import say
from .workspace import Workspace

#: A pack up to this size is always cached as a whole, a larger one where a task needs this part of it: one in eight.
LITTLE_BYTES = MIB
LEAST_SHARE = 8

Cut = Tuple[InputFile, memoryview]


def by_pack(items: Sequence[InputFile]) -> List[List[InputFile]]:
    """The inputs of each pack."""
    packs: Dict[str, List[InputFile]] = {}
    for item in items:
        packs.setdefault(item.blob, []).append(item)
    return list(packs.values())


def whole(items: Sequence[InputFile]) -> Wanted:
    """The pack that some inputs are in. It has no MD5 here, as its members have theirs."""
    first = items[0]
    path = first.path if len(items) == 1 else "%s and %d more" % (first.path, len(items) - 1)
    return Wanted(path, first.blob, first.pack_bytes, "", pack_bytes=first.pack_bytes)


def is_wanted_whole(items: Sequence[InputFile]) -> bool:
    """Whether a cache is to have the whole pack for some inputs that lie in it: else the node would get too much."""
    pack_bytes = items[0].pack_bytes
    share_bytes = sum(item.size_bytes for item in items)
    return len(items) >= MANY or pack_bytes <= LITTLE_BYTES or share_bytes * LEAST_SHARE >= pack_bytes


def place_pack(fetch: Fetch, workspace: Workspace, items: Sequence[InputFile]) -> None:
    """Place inputs that lie in one pack. May be asked for the same again. Raises StageError, NoSpace among them."""
    made: Set[str] = set()
    for item, content in _from_cache(fetch, items) or _from_storage(fetch, items):
        place_at(workspace, item, lambda temporary, *_, content=content: _write(temporary, content), made)


def _from_cache(fetch: Fetch, items: Sequence[InputFile]) -> Optional[List[Cut]]:
    """None where the cache cannot have the pack, or what it has was changed."""
    kept = fetch.kept(whole(items))
    if kept is None:
        return None
    cuts = list(_cut(memoryview(kept.content), 0, items))
    if any(_is_wrong(*one) for one in cuts):
        say("cache: %s was changed on the node, and is read from blob storage" % items[0].blob)
        fetch.drop(whole(items))
        return None
    if kept.hit:
        for item in items:
            fetch.figures.count(item.size_bytes, hit=True)
    else:
        fetch.figures.count(len(kept.content), hit=False)
    return cuts


def _from_storage(fetch: Fetch, items: Sequence[InputFile]) -> Iterator[Cut]:
    pack = whole(items)
    for span in spans_of([(item.offset or 0, item.size_bytes) for item in items]):
        content = fetch.part(pack, span.start, span.size_bytes)
        for one in _cut(memoryview(content), span.start, [items[member] for member in span.members]):
            if _is_wrong(*one):
                raise StageError("%s: not what blob %s is said to hold of it" % (one[0].path, one[0].blob))
            yield one


def _cut(content: memoryview, start: int, items: Sequence[InputFile]) -> Iterator[Cut]:
    for item in items:
        first = (item.offset or 0) - start
        yield item, content[first : first + item.size_bytes]


def _is_wrong(item: InputFile, content: memoryview) -> bool:
    return len(content) != item.size_bytes or digest(content).hex() != item.md5


def _write(temporary: str, content: memoryview) -> bool:
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
    except OSError as error:
        raise disk_error("cannot write " + temporary, error) from error
    return False
