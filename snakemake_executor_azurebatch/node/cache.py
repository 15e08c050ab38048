"""The node cache: one download for each blob and node, whatever the number of tasks that want it.

    $AZ_BATCH_NODE_SHARED_DIR/smk-cache/v1-<boot>/
        <key>.data   a whole blob, checked; the key is made of the blob's name, its MD5 and its size, and for
                     one in another blob container of that and of its ETag
        <key>.lock   held while the file is looked at, downloaded, linked; its time is that of the last use
        <key>.part   a download under way, or what a dead task left of one
        <key>.tree   a source archive, unpacked (see ``tree``)
        room.lock    held while room is made (see ``room``)

A file gets its name only when it is complete and checked. Before each use its size and its time must still be
those that it was stored with: what a task wrote into is thrown away and downloaded again. How tasks get at the
content, and why they cannot harm each other, is said in ``sharing``.

Each boot of the node has a folder of its own: after a reset a file may have its name, size and time, but not its
content, if that was still on its way to the disk. The folders of other boots are removed; nobody can be using them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from contextlib import contextmanager, suppress
from typing import Callable, Iterator, Mapping, NamedTuple, Optional

from .download import Wanted, remove_quietly
from .limits import STAGED_NS
from .lock import locked
from .protocol import CacheLimits
from .report import say
from .room import DATA, LOCK, PART, Room
from .workspace import remove_tree

#: Where the caches of all boots are, below the folder that all tasks of a node share.
ROOT = "smk-cache"
#: What their names begin with. Another layout gets another version.
VERSION = "v1-"
#: Another one after each start of the node's kernel; it is that of the node in a container, too.
#: source: Linux documentation, proc(5)
BOOT_ID = "/proc/sys/kernel/random/boot_id"

Fill = Callable[[str], None]


class Entry(NamedTuple):
    """A file of the cache, whose lock is held. ``hit``: it was there already."""

    path: str
    hit: bool


def key_of(wanted: Wanted) -> str:
    """The name of a blob's content in the cache."""
    text = "%s\0%s\0%d" % (wanted.blob, wanted.md5, wanted.size_bytes)
    if wanted.container_url:
        text += "\0%s\0%s" % (wanted.container_url.partition("?")[0], wanted.etag)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def intact(status: os.stat_result, wanted: Wanted) -> bool:
    """Whether a file of the cache is as it was stored. Whoever writes into it gives it another time."""
    return (status.st_size, status.st_mtime_ns) == (wanted.size_bytes, STAGED_NS)


class Cache:
    """One node's cache, as one task sees it. Safe to use from several threads and processes."""

    def __init__(self, folder: str, limits: CacheLimits, stopping: threading.Event) -> None:
        self._folder = folder
        self._stopping = stopping
        self._room = Room(folder, limits, stopping)

    @property
    def device(self) -> int:
        """The file system that the cache is on. Raises OSError."""
        return os.stat(self._folder).st_dev

    @contextmanager
    def entry(self, wanted: Wanted, mode: int, fill: Fill, must: bool) -> Iterator[Entry]:
        """The file of a blob, its lock held; where it is not there, ``fill`` writes it to the path it is given.

        ``mode`` is what a new file gets. ``must``: also where the disk has less room than others should find.
        Raises NoRoom, what ``fill`` raises, Interrupted, and OSError for a cache that cannot be used.
        """
        path = os.path.join(self._folder, key_of(wanted))
        with locked(path + LOCK, self._stopping):
            os.utime(path + LOCK)
            hit = self._usable(path + DATA, wanted)
            if not hit:
                self._download(path, wanted, fill, must)
                os.chmod(path + PART, mode & 0o777 | stat.S_IRUSR)
                os.utime(path + PART, ns=(STAGED_NS, STAGED_NS))
                os.replace(path + PART, path + DATA)
            yield Entry(path + DATA, hit)

    def drop(self, wanted: Wanted) -> None:
        """Forget a blob, which is not what it should be. Raises Interrupted, OSError."""
        path = os.path.join(self._folder, key_of(wanted))
        with locked(path + LOCK, self._stopping):
            remove_quietly(path + DATA)

    def empty(self) -> int:
        """Remove all that no task uses; the bytes that this gave. Raises Interrupted, OSError."""
        return self._room.empty()

    def _usable(self, data: str, wanted: Wanted) -> bool:
        try:
            status = os.lstat(data)
        except FileNotFoundError:
            return False
        if intact(status, wanted):
            return True
        say("cache: %s was changed on the node, and is downloaded again" % wanted.path)
        os.unlink(data)
        return False

    def _download(self, path: str, wanted: Wanted, fill: Fill, must: bool) -> None:
        self._room.reserve(os.path.basename(path), wanted.size_bytes, must)
        try:
            fill(path + PART)
        except BaseException:
            remove_quietly(path + PART)
            raise


def open_cache(environ: Mapping[str, str], limits: CacheLimits, stopping: threading.Event) -> Optional[Cache]:
    """The node's cache; None where there is to be none, the node names no shared folder, or it is not writable."""
    if limits.max_bytes == 0:
        return None
    shared = environ.get("AZ_BATCH_NODE_SHARED_DIR", "")
    if not os.path.isdir(shared):
        return None
    folder = cache_folder(shared)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        say("no cache: cannot make %s (%s)" % (folder, error.strerror))
        return None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        say("no cache: %s belongs to another user" % folder)
        return None
    _remove_other_boots(folder, stopping)
    return Cache(folder, limits, stopping)


def cache_folder(shared: str) -> str:
    """Where the cache of this boot of the node is."""
    return os.path.join(shared, ROOT, VERSION + _boot_id())


def _boot_id() -> str:
    """Nothing where it cannot be read."""
    try:
        with open(BOOT_ID, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _remove_other_boots(folder: str, stopping: threading.Event) -> None:
    root, mine = os.path.split(folder)
    others = [name for name in os.listdir(root) if name.startswith(VERSION) and name not in (mine, VERSION)]
    if not others or mine == VERSION:
        return
    lock = os.path.join(root, "boot" + LOCK)
    with suppress(OSError), locked(lock, stopping, wait=False) as alone:  # else another one removes them
        for name in others if alone else ():
            remove_tree(os.path.join(root, name))
