"""What is inside a folder, in one fixed order: the one walk that stamping and packing share.

A symbolic link that stays inside the folder is an entry of its own. One that leaves it is followed,
because the copy on the node has nothing at the other end. A dangling link stays a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE, DIRECTORY, LINK = "file", "directory", "link"


class LoopError(OSError):
    """A link leads back to a folder that contains it."""


@dataclass(frozen=True)
class Entry:
    """One thing in a folder. ``relative`` uses ``/``; ``status`` is that of what ``kind`` says."""

    relative: str
    path: Path
    kind: str
    status: os.stat_result
    link_target: str = ""  #: for a link: relative to the link's own folder where it was absolute


def walk(root: Path) -> Iterator[Entry]:
    """Entries of ``root``, parents before children, sorted by name; sockets, pipes and devices are left out.

    Raises OSError where something cannot be read, LoopError where a followed link leads back.
    """
    real_root = Path(os.path.realpath(root))
    yield from _walk(real_root, real_root, "", (str(real_root),))


def _walk(root: Path, folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        entry = _entry(root, path, prefix + path.name)
        if entry is None:
            continue
        yield entry
        if entry.kind == DIRECTORY:
            real = os.path.realpath(entry.path)
            if real in above:
                raise LoopError(f"{entry.path} leads back to {real}")
            yield from _walk(root, Path(real), entry.relative + "/", (*above, real))


def _entry(root: Path, path: Path, relative: str) -> Entry | None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = _kept_target(root, path)
        if target is not None:
            return Entry(relative, path, LINK, status, target)
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return Entry(relative, path, DIRECTORY, status)
    return Entry(relative, path, FILE, status) if stat.S_ISREG(status.st_mode) else None


def _kept_target(root: Path, link: Path) -> str | None:
    """The target that the packed link gets, or None for a link that is to be followed."""
    target = str(link.readlink())
    real = Path(os.path.realpath(link))
    if not real.exists():
        return target
    if not real.is_relative_to(root):
        return None
    return os.path.relpath(real, link.parent) if Path(target).is_absolute() else target
