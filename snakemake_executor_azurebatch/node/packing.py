"""How many small files travel together in one blob, a pack (pure).

A pack is the contents of files, one after the other, and nothing else: who knows a file knows where it begins and
how long it is. What one needs of a pack is read in few requests, with the gaps between them where these are small.

Standard library only, Python 3.8 or newer; used on both sides.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

from .limits import MIB

#: Most bytes of one pack, and of one read. It is in memory as a whole; and a node that needs one file caches it all.
PACK_BYTES = 8 * MIB
#: As much as this is read and thrown away rather than asked for separately.
GAP_BYTES = 64 << 10


class Span(NamedTuple):
    """A part of a pack that is read in one request, and which of the wanted members lie in it."""

    start: int
    size_bytes: int
    members: List[int]


def packs_of(sizes: Sequence[int], most_bytes: int = PACK_BYTES) -> List[List[int]]:
    """Which files share a pack, by their positions; in order, and no pack larger than it may be."""
    packs: List[List[int]] = []
    room = -1
    for position, size_bytes in enumerate(sizes):
        if not packs or size_bytes > room:
            packs.append([])
            room = most_bytes
        packs[-1].append(position)
        room -= size_bytes
    return packs


def spans_of(wanted: Sequence[Tuple[int, int]], gap: int = GAP_BYTES, most_bytes: int = PACK_BYTES) -> List[Span]:
    """The reads that bring all ``wanted`` members, each (offset, size in bytes) and given by its position."""
    spans: List[Span] = []
    for position in sorted(range(len(wanted)), key=lambda position: wanted[position]):
        start, size_bytes = wanted[position]
        last = spans[-1] if spans else None
        if last is not None and start <= last.start + last.size_bytes + gap:
            end = max(start + size_bytes, last.start + last.size_bytes)
            if end - last.start <= most_bytes:
                spans[-1] = Span(last.start, end - last.start, [*last.members, position])
                continue
        spans.append(Span(start, size_bytes, [position]))
    return spans
