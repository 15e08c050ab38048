"""SQLite files of this package: told from any others, kept by version, written in whole transactions."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file. Its tables are made where there is none, then ``filled``."""

    name: str  #: as in "it is not a ledger of this version"
    schema: str  #: statements that make the tables, with a semicolon after each
    version: int
    application_id: int  #: tells it from any other SQLite file
    filled: Callable[[sqlite3.Connection], object] = lambda _: None


def open_file(path: Path | None, kind: Kind) -> sqlite3.Connection:
    """Open or create the file; None means memory only. Usable from any thread, by one at a time.

    Raises sqlite3.OperationalError where it cannot be read or written now, sqlite3.DatabaseError where it is damaged
    or of another kind.
    """
    connection = sqlite3.connect(path or ":memory:", timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, kind)
    except BaseException:
        connection.close()
        raise
    return connection


def write(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run one statement for all rows, in one transaction. Raises sqlite3.DatabaseError."""
    if len(rows) == 1:  # a transaction by itself, in one step: this is often what a job costs
        connection.execute(statement, rows[0])
    elif rows:
        connection.execute("BEGIN IMMEDIATE")
        with connection:  # commits, or rolls back
            connection.executemany(statement, rows)


def move_aside(path: Path) -> Path:
    """Give a damaged file another name, which is returned. Its connection is closed by now. Raises OSError."""
    broken = path.with_name(f"{path.name}.broken")
    path.replace(broken)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return broken


def _prepare(connection: sqlite3.Connection, kind: Kind) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    with contextlib.closing(connection.execute("SELECT count(*) FROM sqlite_master")) as tables:
        is_new = tables.fetchone()[0] == 0
    if is_new:
        marks = f"PRAGMA user_version = {kind.version}; PRAGMA application_id = {kind.application_id};"
        for statement in filter(None, map(str.strip, (kind.schema + marks).split(";"))):
            connection.execute(statement)
        kind.filled(connection)
    found = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    connection.execute("COMMIT")
    if found != (kind.application_id, kind.version):
        raise sqlite3.DatabaseError(f"it is not a {kind.name} of this version")
    if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("it is damaged")
