"""Brings blobs to a task: from the node's cache where there is one, else from blob storage."""

from __future__ import annotations

import os
import threading
from typing import IO, Callable, Dict, NamedTuple, Optional

from .blob import Container
from .cache import Cache, intact
from .download import Wanted, download, download_part, remove_quietly
from .elsewhere import Elsewhere
from .errors import why
from .limits import Limits
from .report import amount, say
from .room import NoRoom, disk_of
from .sharing import Links, clone, copy

#: How often a file is asked for again that another task changes while it is copied.
ATTEMPTS = 3


class Figures:
    """What was fetched, in files and bytes."""

    def __init__(self) -> None:
        self.cache_hits = self.cache_bytes = self.downloaded_bytes = 0
        self._lock = threading.Lock()

    def fields(self) -> Dict[str, int]:
        """As fields of the commit record."""
        return {name: getattr(self, name) for name in ("cache_hits", "cache_bytes", "downloaded_bytes")}

    def summary(self) -> str:
        """What came from the cache, to go on a line; nothing without a hit."""
        if not self.cache_hits:
            return ""
        return ", %d from the node's cache (%s)" % (self.cache_hits, amount(self.cache_bytes))

    def count(self, size_bytes: int, hit: bool) -> None:
        """Note one file."""
        with self._lock:
            self.cache_hits += hit
            self.cache_bytes += size_bytes if hit else 0
            self.downloaded_bytes += 0 if hit else size_bytes


class Place(NamedTuple):
    """Where a file is to be: written to ``temporary`` first. ``own``: at ``target`` only this task uses it."""

    temporary: str
    target: str
    mode: int
    own: bool


class Opened(NamedTuple):
    """A file of the cache. ``shared``: cloned or linked already. It stays readable, whatever becomes of its name."""

    path: str
    source: IO[bytes]
    hit: bool
    shared: bool


class Kept(NamedTuple):
    """The content of a pack in the cache. ``hit``: it was there already."""

    content: bytes
    hit: bool


Share = Callable[[IO[bytes], str], bool]


class Once(NamedTuple):
    """Work to do once on a node with a blob in the cache, and for each task what builds on it.

    ``prepare`` is called while the blob's lock is held. ``use`` is False where it is not usable after all.
    """

    prepare: Share
    use: Callable[[str], bool]


class Fetch:
    """Fetches for one task. ``cache`` is None where the node has none. Safe to use from several threads."""

    def __init__(
        self,
        store: Container,
        limits: Limits,
        cache: Optional[Cache],
        links: Links,
        elsewhere: Optional[Elsewhere] = None,
    ) -> None:
        self._store = store
        self._elsewhere = elsewhere or Elsewhere()
        self._limits = limits
        self._cache = cache
        self._links = links
        self._clones = True  # until the file system says otherwise
        self.figures = Figures()

    def to_file(self, wanted: Wanted, place: Place) -> bool:
        """Put a blob to ``place.temporary``. True: it is a link into the cache, whose mode and time must stay.

        Raises StageError.
        """
        for _ in range(ATTEMPTS):
            opened = self._open(
                wanted, place.mode, self._must(place), lambda *found: self._share(wanted, place, *found)
            )
            if opened is None:
                break
            with opened.source:
                if not opened.shared:
                    copy(opened.source, place.temporary)
                if intact(os.fstat(opened.source.fileno()), wanted):
                    self.figures.count(wanted.size_bytes, opened.hit)
                    return place.temporary in self._links
            self._links.forget(place.temporary)
            remove_quietly(place.temporary)
        self._download(wanted, place.temporary)
        return False

    def to_stream(
        self, wanted: Wanted, temporary: str, use: Callable[[IO[bytes]], None], once: Optional[Once] = None
    ) -> None:
        """Hand an opened blob to ``use``; ``temporary`` is where it is without a cache. Raises StageError.

        ``once`` may do better with a blob in the cache.
        """
        opened = self._open(wanted, 0o644, False, once.prepare if once else lambda *_: False)
        if opened is not None:
            with opened.source:
                self.figures.count(wanted.size_bytes, opened.hit)
                if once is None or not once.use(opened.path):
                    opened.source.seek(0)
                    use(opened.source)
            return
        self._download(wanted, temporary)
        with open(temporary, "rb") as source:
            use(source)

    @property
    def has_cache(self) -> bool:
        """Whether the node has a cache."""
        return self._cache is not None

    def kept(self, pack: Wanted) -> Optional[Kept]:
        """A pack as the cache has it, fetched where it is not there; None where the cache cannot have it.

        Raises StageError.
        """
        opened = self._open(pack, 0o644, False, lambda *_: False)
        if opened is None:
            return None
        with opened.source:
            return Kept(opened.source.read(), opened.hit)

    def drop(self, pack: Wanted) -> None:
        """Have the cache forget a pack, which is not what it should be. Raises Interrupted."""
        if self._cache is not None:
            self._cache.drop(pack)

    def part(self, pack: Wanted, start: int, size_bytes: int) -> bytes:
        """A part of a pack, from blob storage. Raises StageError."""
        self.figures.count(size_bytes, hit=False)
        return download_part(self._store, pack, (start, size_bytes))

    def free_bytes(self, folder: str) -> int:
        """What is free in a folder of the task, once nothing is in the cache that could go. Raises OSError."""
        if self._cache is not None:
            self._cache.empty()
        return disk_of(folder).free_bytes

    def _store_of(self, wanted: Wanted) -> Container:
        return self._elsewhere.container(wanted.container_url) if wanted.container_url else self._store

    def _download(self, wanted: Wanted, target: str) -> None:
        download(self._store_of(wanted), wanted, target, self._limits)
        self.figures.count(wanted.size_bytes, hit=False)

    def _open(self, wanted: Wanted, mode: int, must: bool, share: Share) -> Optional[Opened]:
        """A blob in the cache; ``share`` is called while its lock is held. None: the cache cannot have it."""
        if self._cache is None:
            return None

        def fill(path: str) -> None:
            download(self._store_of(wanted), wanted, path, self._limits)

        try:
            with self._cache.entry(wanted, mode, fill, must) as entry:
                source = open(entry.path, "rb")  # noqa: SIM115  the caller closes it
                return Opened(entry.path, source, entry.hit, share(source, entry.path))
        except NoRoom:
            return None
        except OSError as error:
            say("cache: cannot be used for %s: %s" % (wanted.path, why(error)))
            return None

    def _must(self, place: Place) -> bool:
        """Whether to use the cache however full the disk is: where the file is on the same disk in any case."""
        if self._cache is None or not place.own:
            return False
        try:
            return os.stat(os.path.dirname(place.temporary)).st_dev == self._cache.device
        except OSError:
            return False

    def _share(self, wanted: Wanted, place: Place, source: IO[bytes], data: str) -> bool:
        """Clone or link; see ``sharing``. False where it has to be a copy."""
        self._clones = self._clones and clone(source, place.temporary)
        if self._clones or not place.own:
            return self._clones
        return self._links.add(wanted, place.mode, data, place.temporary, place.target)
