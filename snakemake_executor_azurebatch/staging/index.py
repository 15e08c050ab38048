"""What the controller remembers of which local file is which blob.

One SQLite file. A row is believed only while the file's stamp holds, and only for the blob container it
was written for. Losing the index costs uploads, never correctness: a damaged one is moved aside.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.sqlite_file import Kind, move_aside, open_file, write
from snakemake_executor_azurebatch.staging.stamps import Stamp

MOST_SPELLED = 5

_SCHEMA = """
CREATE TABLE blobs (
    store_id TEXT NOT NULL, path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode TEXT NOT NULL, listing TEXT NOT NULL,
    blob TEXT NOT NULL, blob_size_bytes INTEGER NOT NULL, md5 TEXT NOT NULL, mode INTEGER NOT NULL, kind TEXT NOT NULL,
    start INTEGER, pack_bytes INTEGER NOT NULL,
    PRIMARY KEY (store_id, path)
) WITHOUT ROWID;
"""
_KIND = Kind("staging index", _SCHEMA, version=2, application_id=0x534D4B42)  # "SMKB"


@dataclass(frozen=True)
class BlobRef:
    """A blob and what a local copy of it looks like. ``md5`` is hexadecimal, ``mode`` the permission bits.

    Where ``offset`` is not None the blob is a pack of ``pack_bytes`` bytes, and the file is what begins there.
    """

    blob: str
    size_bytes: int
    md5: str
    mode: int
    kind: str
    offset: int | None = None
    pack_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is all that is in its blob."""
        return self.offset is None


_LAST = "SELECT blob, blob_size_bytes, md5, mode, kind, start, pack_bytes FROM blobs WHERE store_id = ? AND path = ?"
_FIND = _LAST + " AND size_bytes = ? AND mtime_ns = ? AND ctime_ns = ? AND inode = ? AND listing = ?"
_ROWS = (
    "SELECT path, size_bytes, mtime_ns, ctime_ns, inode, listing,"
    " blob, blob_size_bytes, md5, mode, kind, start, pack_bytes FROM blobs WHERE store_id = ?"
)
_LEARN = "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Index:
    """Which local file is which blob. Usable from any thread; every method is one short transaction."""

    def __init__(self, path: Path, store_id: str, logger: logging.Logger | None = None) -> None:
        self._path = path
        self._store_id = store_id
        self._logger = logger or logging.getLogger(__name__)
        self._lock = threading.Lock()
        self._thread = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._open_or_start_anew()

    def find(self, path: str, stamp: Stamp) -> BlobRef | None:
        """The blob that the file at the absolute ``path`` is, or None where that is not known for certain."""
        return self._one(_FIND, *self._key(path), *_columns(stamp))

    def last(self, path: str) -> BlobRef | None:
        """The blob that the file at ``path`` was when it was learned, whatever it is now: to compare it with."""
        return self._one(_LAST, *self._key(path))

    def learn(self, path: str, stamp: Stamp, blob: BlobRef) -> None:
        """Remember that the file at ``path`` with this stamp is ``blob``."""
        self.learn_all([(path, stamp, blob)])

    def learn_all(self, learned: Iterable[tuple[str, Stamp, BlobRef]]) -> None:
        """The same of many files, in one transaction."""
        rows = [(*self._key(path), *_columns(stamp), *_values(blob)) for path, stamp, blob in learned]
        if (gathered := getattr(self._thread, "gathered", None)) is not None:
            gathered += rows
        else:
            self._write(_LEARN, rows)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What this thread learns within is written at the end, in one transaction; till then nobody finds it."""
        gathered: list[tuple[object, ...]] = []
        self._thread.gathered = gathered
        try:
            yield
        finally:
            self._thread.gathered = None
            self._write(_LEARN, gathered)

    def forget(self, path: str) -> None:
        """Believe nothing of ``path`` any more."""
        self._write("DELETE FROM blobs WHERE store_id = ? AND path = ?", [self._key(path)])

    def rows(self) -> list[tuple[str, Stamp, BlobRef]]:
        """All that is remembered: path as text (see ``paths_of``), stamp, blob."""
        with self._lock:
            try:
                found = self._connection.execute(_ROWS, (self._store_id,)).fetchall()
            except sqlite3.DatabaseError as error:
                self._recover(error)
                raise StagingError(f"the staging index could not be read: {error}") from error
        return [(row[0], Stamp(row[1], row[2], row[3], int(row[4]), row[5]), BlobRef(*row[6:])) for row in found]

    def forget_all(self, rows: Iterable[tuple[str, str]]) -> None:
        """Believe nothing any more of these paths (as ``rows`` gives them), unless they are another blob by now.

        Raises StagingError where the file cannot be written: then they may still be believed.
        """
        values = [(self._store_id, path, blob) for path, blob in rows]
        with self._lock:
            try:
                write(self._connection, "DELETE FROM blobs WHERE store_id = ? AND path = ? AND blob = ?", values)
            except sqlite3.DatabaseError as error:
                self._recover(error)
                raise StagingError(f"the staging index could not be written: {error}") from error

    def close(self) -> None:
        """Close the file. The index cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def _one(self, query: str, *values: object) -> BlobRef | None:
        with self._lock:
            try:
                row = self._connection.execute(query, values).fetchone()
            except sqlite3.DatabaseError as error:
                self._recover(error)
                row = None
        return BlobRef(*row) if row else None

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        """Run one statement for all rows. A full disk or a damaged file costs the memory of them, not the run."""
        with self._lock:
            try:
                write(self._connection, statement, rows)
            except sqlite3.DatabaseError as error:
                self._recover(error)

    def _key(self, path: str) -> tuple[str, str]:
        # File names need not be UTF-8, SQLite's text must be.
        return self._store_id, os.path.normpath(path).encode("utf-8", "backslashreplace").decode("utf-8")

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # used after close(): a mistake of ours, not of the file
        if isinstance(error, sqlite3.OperationalError):
            # Locked, full or unwritable: the file itself is sound.
            self._logger.warning("The staging index %s could not be used: %s", self._path, error)
            return
        self._connection.close()
        self._move_aside(error)
        self._connection = _open(self._path)

    def _open_or_start_anew(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except sqlite3.OperationalError as error:
            self._logger.warning("The staging index %s could not be used: %s", self._path, error)
            return _open(None)
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            return _open(self._path)

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        broken = move_aside(self._path)
        self._logger.warning(
            "The staging index %s was not usable (%s) and is now %s; files will be uploaded again as needed.",
            self._path,
            error,
            broken.name,
        )


def store_ids(path: Path) -> list[str]:
    """The blob containers that an index knows files of; none where there is no index that can be read."""
    if not path.exists():
        return []
    try:
        with contextlib.closing(_open(path)) as connection:
            return [str(row[0]) for row in connection.execute("SELECT DISTINCT store_id FROM blobs ORDER BY store_id")]
    except sqlite3.DatabaseError:
        return []


def paths_of(text: str) -> list[str]:
    """The paths that a row may be about: bytes of a name that are not UTF-8 are kept spelled out.

    Each spelled byte may as well be what the name really says. More than MOST_SPELLED: none, as it is not known.
    """
    parts = re.split(r"(\\udc[89a-f][0-9a-f])", text)
    if len(parts) // 2 > MOST_SPELLED:
        return []
    ways = [(part, chr(int(part[2:], 16))) if place % 2 else (part,) for place, part in enumerate(parts)]
    return ["".join(way) for way in itertools.product(*ways)]


def _open(path: Path | None) -> sqlite3.Connection:
    connection = open_file(path, _KIND)
    # A power cut may lose the last rows but not the file: that costs uploads only.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _values(blob: BlobRef) -> tuple[object, ...]:
    """The blob as columns, in the order of its fields."""
    return blob.blob, blob.size_bytes, blob.md5, blob.mode, blob.kind, blob.offset, blob.pack_bytes


def _columns(stamp: Stamp) -> tuple[object, ...]:
    """The stamp as columns; the inode as text, since it may exceed SQLite's signed 64 bits."""
    return stamp.size_bytes, stamp.mtime_ns, stamp.ctime_ns, str(stamp.inode), stamp.listing
