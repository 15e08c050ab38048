"""Outputs that leave in packs: see ``packing`` for what a pack is.

Their names are new each time, so that two attempts at one task never write into each other's.
"""

from __future__ import annotations

import os
from typing import List, NamedTuple, Sequence

from .blob import Container
from .errors import StageError, why
from .limits import Limits
from .md5 import digest
from .packing import packs_of
from .parallel import each
from .protocol import FILE, StoredFile
from .upload import unchanged


class Member(NamedTuple):
    """A small file that is to go into a pack."""

    path: str
    place: str
    mode: int
    size_bytes: int


def store_packs(store: Container, prefix: str, members: Sequence[Member], limits: Limits) -> List[StoredFile]:
    """Store files in packs whose names begin with ``prefix``. Raises StageError, also for a file that changes."""

    def pack(positions: List[int]) -> List[StoredFile]:
        return _store_pack(store, "%s.%s" % (prefix, os.urandom(16).hex()), [members[one] for one in positions])

    packs = packs_of([member.size_bytes for member in members])
    return [stored for some in each(pack, packs, limits.workers) for stored in some]


def _store_pack(store: Container, blob: str, members: Sequence[Member]) -> List[StoredFile]:
    contents = [_read(member) for member in members]
    data = b"".join(contents)
    store.put(blob, data)
    stored, offset = [], 0
    for member, content in zip(members, contents):
        md5 = digest(content).hex()
        stored.append(StoredFile(member.path, blob, len(content), md5, member.mode, FILE, "", offset, len(data)))
        offset += len(content)
    return stored


def _read(member: Member) -> bytes:
    try:
        with open(member.place, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            content = stream.read()
            if len(content) != member.size_bytes or not unchanged(before, os.fstat(stream.fileno())):
                raise StageError("%s changed while it was read" % member.place)
            return content
    except OSError as error:
        raise StageError("%s: cannot be read: %s" % (member.path, why(error))) from error
