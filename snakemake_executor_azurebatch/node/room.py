"""Keeps disk free: files of the node cache go, the least recently used first, where others need the room.

Never removed: what a task is downloading or copying (its lock is held), and what tasks have links to, as that
would free nothing.
"""

from __future__ import annotations

import os
import threading
from typing import List, NamedTuple, Optional

from .download import remove_quietly
from .limits import LEAST_FREE_BYTES, LEAST_FREE_SHARE
from .lock import locked
from .protocol import CacheLimits
from .report import amount, say
from .workspace import remove_tree

DATA, PART, LOCK, TREE = ".data", ".part", ".lock", ".tree"


class NoRoom(Exception):
    """There is no room for another file in the cache, although all that could go is gone."""


class Kept(NamedTuple):
    """A file of the cache. ``used_ns``: when a task asked for it last."""

    key: str
    size_bytes: int
    used_ns: int
    links: int


class Disk(NamedTuple):
    """A file system, in bytes."""

    total_bytes: int
    free_bytes: int


def disk_of(folder: str) -> Disk:
    """The file system of a folder. Raises OSError."""
    status = os.statvfs(folder)
    return Disk(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


class Room:
    """The room of one cache folder."""

    def __init__(self, folder: str, limits: CacheLimits, stopping: threading.Event) -> None:
        self._folder = folder
        self._limits = limits
        self._stopping = stopping

    def reserve(self, key: str, size_bytes: int, must: bool) -> None:
        """Make room for a file, and its empty ``PART`` file, which counts as filled. The key's lock is held.

        ``must``: also where less stays free than should. Raises NoRoom, Interrupted, OSError.
        """
        if self._limits.max_bytes is not None and size_bytes > self._limits.max_bytes:
            raise NoRoom
        part = os.path.join(self._folder, key + PART)
        remove_quietly(part)  # of a task that died
        free_bytes, least_free_bytes = disk_of(self._folder).free_bytes, self._least_free_bytes()
        # where many such files would fit, nobody has to count
        ample = self._limits.max_bytes is None and free_bytes - 64 * size_bytes > 2 * least_free_bytes
        with locked(os.path.join(self._folder, "room" + LOCK), self._stopping):
            if not ample:
                self._make(size_bytes, must)
            with open(part, "wb") as stream:
                stream.truncate(size_bytes)

    def empty(self) -> int:
        """Remove all that can go; the bytes that this gave. Raises Interrupted, OSError."""
        with locked(os.path.join(self._folder, "room" + LOCK), self._stopping):
            return sum(self._evict(kept) for kept in self._scan())

    def _make(self, size_bytes: int, must: bool) -> None:
        entries = sorted(self._scan(), key=lambda kept: kept.used_ns)
        coming_bytes = size_bytes + self._still_coming_bytes()
        disk_lacks_bytes = coming_bytes + self._least_free_bytes() - disk_of(self._folder).free_bytes
        cache_lacks_bytes = 0
        if self._limits.max_bytes is not None:
            cache_lacks_bytes = coming_bytes + sum(kept.size_bytes for kept in entries) - self._limits.max_bytes
        freed: List[int] = []
        for kept in entries:
            if sum(freed) >= max(disk_lacks_bytes, cache_lacks_bytes):
                break
            freed.append(self._evict(kept))
        if any(freed):
            say("cache: evicted %d files, %s" % (len(freed) - freed.count(0), amount(sum(freed))))
        if sum(freed) < cache_lacks_bytes or (sum(freed) < disk_lacks_bytes and not must):
            raise NoRoom

    def _least_free_bytes(self) -> int:
        if self._limits.min_free_bytes is not None:
            return self._limits.min_free_bytes
        return max(LEAST_FREE_BYTES, int(disk_of(self._folder).total_bytes * LEAST_FREE_SHARE))

    def _scan(self) -> List[Kept]:
        names = os.listdir(self._folder)
        found = [self._kept(name[: -len(DATA)]) for name in names if name.endswith(DATA)]
        return [kept for kept in found if kept is not None]

    def _kept(self, key: str) -> Optional[Kept]:
        path = os.path.join(self._folder, key)
        try:
            status = os.stat(path + DATA)
        except FileNotFoundError:
            return None
        try:
            used_ns = os.stat(path + LOCK).st_mtime_ns
        except FileNotFoundError:
            used_ns = 0
        return Kept(key, status.st_size, used_ns, status.st_nlink)

    def _evict(self, kept: Kept) -> int:
        """Remove one file of the cache, unless it is in use. The bytes that this gave."""
        path = os.path.join(self._folder, kept.key)
        if kept.links > 1:
            return 0
        with locked(path + LOCK, self._stopping, wait=False) as mine:
            now = self._kept(kept.key) if mine else None
            if now is None or now.links > 1:
                return 0
            remove_quietly(path + DATA)
            remove_tree(path + TREE)
            remove_tree(path + TREE + ".new")
            remove_quietly(path + LOCK)
        return kept.size_bytes

    def _still_coming_bytes(self) -> int:
        """What downloads of other tasks will take yet; what dead tasks left half done is removed."""
        coming_bytes = 0
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name.endswith(PART):
                with locked(path[: -len(PART)] + LOCK, self._stopping, wait=False) as dead:
                    coming_bytes += 0 if dead else _unfilled_bytes(path)
                    if dead:
                        remove_quietly(path)
        return coming_bytes


def _unfilled_bytes(path: str) -> int:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0
    return max(0, status.st_size - status.st_blocks * 512)
