"""The state on disk: what a service knew when it was ended, in whatever way, the next one knows again.

One row per pool, node, job, task, run and unfinished instruction, in an SQLite file (``state.db``). Rows of
what may have changed are written in one transaction before anybody outside can see the change, so the file
is at every instant the state as it was between two events. ``kill -9`` loses nothing that was answered;
a power cut may lose the last seconds, never the file.

Rows are pickles of this package's own plain classes. Reading makes only those classes, so a file made by
somebody else can do no harm. A file of another layout is put aside, not guessed at.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.emulator.instructions import Instruction
from snakemake_executor_azurebatch.emulator.model import Job, Task
from snakemake_executor_azurebatch.emulator.pickling import dump, layout, load
from snakemake_executor_azurebatch.emulator.placement import enqueue
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.watched import Watched

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entity (
    kind TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (kind, owner, key)
) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO entity VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM entity WHERE kind = ? AND owner = ? AND key = ?"
_DELETE_ALL = "DELETE FROM entity WHERE kind = ? AND owner = ?"
_OWN_ROWS = ("pools", "jobs", "runs", "jobs_of_pool")
#: Entries that one sweep looks at, touched or not.
_SWEEP = 200

Row = tuple[str, str, str]


class StateUnreadable(Exception):
    """The file is not a state of this program's layout; the message says why."""


class StateStore:
    """Keeps one State in a file. ``pending`` are instructions that are not finished, by number."""

    def __init__(self, path: Path, state: State) -> None:
        self._state = state
        self._marks: dict[tuple[str, str], dict[str, int]] = {}
        self._known: dict[tuple[str, str], object] = {}
        self._sweep: Iterator[None] = iter(())
        self.pending: Watched[int, tuple[datetime, Instruction]] = Watched()
        self._database = _open(path)

    def load(self) -> datetime | None:
        """Fill the (empty) state and ``pending``; answers the service's time of the last change.

        Raises StateUnreadable.
        """
        try:
            rows = list(self._database.execute("SELECT kind, owner, key, body FROM entity"))
            return _Loader(self._state, self.pending, rows).load() if rows else None
        except (sqlite3.Error, KeyError, TypeError, ValueError, EOFError) as error:
            raise StateUnreadable(str(error)) from error
        finally:
            self._mark_all()

    def save(self, now: datetime) -> bool:
        """Write what has changed; answers whether there was anything."""
        rows: dict[Row, bytes | None] = {}
        dropped: list[tuple[str, str]] = []
        self._collect(rows, dropped)
        if not rows and not dropped:
            return False
        rows["counters", "", ""] = dump((now, self._state.last_number, self._state.last_etag))
        try:
            self._write(rows, dropped)
        except sqlite3.Error:
            for kind, owner, key in rows:  # tried again when they are looked at next
                self._marks.get((kind, owner), {}).pop(key, None)
            raise
        return True

    def _write(self, rows: Mapping[Row, bytes | None], dropped: Iterable[tuple[str, str]]) -> None:
        with self._database:  # one transaction
            self._database.execute("BEGIN")
            self._database.executemany(_DELETE_ALL, dropped)
            self._database.executemany(_DELETE, [row for row, body in rows.items() if body is None])
            self._database.executemany(_PUT, [(*row, body) for row, body in rows.items() if body is not None])

    def forget_touches(self) -> None:
        """What was handed out since the last save was only read."""
        for watched in self._watched():
            watched.touched.clear()

    def sweep(self) -> bool:
        """Look at some more entries, touched or not; False once all were seen. Found changes are saved next."""
        for _ in range(_SWEEP):
            if next(self._sweep, self) is self:
                self._sweep = self._look_at_all()
                return False
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _watched(self) -> Iterator[Watched[Any, Any]]:
        state = self._state
        yield from (state.pools, state.jobs, state.runs, self.pending)
        for pool in state.pools.values():
            yield pool.nodes
        for job in state.jobs.values():
            yield job.tasks

    def _collect(self, rows: dict[Row, bytes | None], dropped: list[tuple[str, str]]) -> None:
        state = self._state
        groups: tuple[tuple[str, Watched[str, Any], Callable[[Any], Watched[str, Any]], str], ...] = (
            ("pool", state.pools, lambda pool: pool.nodes, "node"),
            ("job", state.jobs, lambda job: job.tasks, "task"),
        )
        for kind, owners, parts, part_kind in groups:
            for key in owners.touched:
                self._note_owner(part_kind, key, dict.get(owners, key), parts, dropped)
            self._changes(kind, "", owners, rows)
            for key, owner in owners.items():
                if parts(owner).touched:
                    self._changes(part_kind, key, parts(owner), rows)
        self._changes("run", "", state.runs, rows)
        self._changes("pending", "", self.pending, rows)
        self._small_changes(rows)

    def _note_owner(
        self,
        kind: str,
        key: str,
        owner: object,
        parts: Callable[[Any], Watched[str, Any]],
        dropped: list[tuple[str, str]],
    ) -> None:
        """A pool or job that is gone, or another one of the same id, takes the rows of its parts along."""
        if owner is self._known.get((kind, key)):
            return
        if self._marks.pop((kind, key), None):
            dropped.append((kind, key))
        self._known.pop((kind, key), None)
        if owner is not None:
            self._known[kind, key] = owner
            found = parts(owner)
            found.touched.update(found)

    def _changes(self, kind: str, owner: str, watched: Watched[Any, Any], rows: dict[Row, bytes | None]) -> None:
        if not watched.touched:
            return
        marks = self._marks.setdefault((kind, owner), {})
        for key in watched.take_touched():
            name = str(key)
            value = dict.get(watched, key)
            if value is None:
                if marks.pop(name, None) is not None:
                    rows[kind, owner, name] = None
                continue
            body = dump(value)
            mark = hash(body)
            if marks.get(name) != mark:
                marks[name] = mark
                rows[kind, owner, name] = body

    def _small_changes(self, rows: dict[Row, bytes | None]) -> None:
        """Everything else that the state has: little, so written whole."""
        marks = self._marks.setdefault(("state", ""), {})
        for name in _small_fields():
            value = getattr(self._state, name)
            if not value and name not in marks:
                continue
            body = dump(value)
            if marks.get(name) != hash(body):
                marks[name] = hash(body)
                rows["state", "", name] = body

    def _look_at_all(self) -> Iterator[None]:
        for watched in list(self._watched()):
            for key in list(watched):
                watched.touched.add(key)
                yield

    def _mark_all(self) -> None:
        """What was loaded is what the file has: marks are made without writing."""
        for watched in self._watched():
            watched.touched.update(watched)
        self._collect({}, [])


def put_aside(path: Path) -> Path:
    """Move an unreadable file out of the way; answers where to."""
    aside = path.with_name(path.name + ".unreadable")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside


def _open(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        database.execute("INSERT OR IGNORE INTO meta VALUES ('layout', ?)", (layout(),))
        found = database.execute("SELECT value FROM meta WHERE name = 'layout'").fetchone()[0]
    except sqlite3.Error as error:
        database.close()
        raise StateUnreadable(str(error)) from error
    if found != layout():
        database.close()
        raise StateUnreadable("it was written by another version of this program")
    return database


def _small_fields() -> list[str]:
    """State's fields without rows of their own; the numbers are in the row ``counters``."""
    return [field.name for field in fields(State) if field.name not in (*_OWN_ROWS, "last_number", "last_etag")]


class _Loader:
    """Puts a state together again."""

    def __init__(
        self,
        state: State,
        pending: Watched[int, tuple[datetime, Instruction]],
        rows: Iterable[tuple[str, str, str, bytes]],
    ) -> None:
        self._state = state
        self._pending = pending
        self._rows: dict[str, list[tuple[str, str, bytes]]] = {}
        for kind, owner, key, body in rows:
            self._rows.setdefault(kind, []).append((owner, key, body))

    def load(self) -> datetime:
        """Everything; answers the service's time of the last change."""
        state = self._state
        for _, key, run in self._of("run"):
            state.runs[int(key)] = run
        self._load_pools()
        self._load_jobs()
        self._link_runs()
        for _, name, value in self._of("state"):
            setattr(state, name, value)
        for _, key, instruction in self._of("pending"):
            self._pending[int(key)] = instruction
        now, state.last_number, state.last_etag = next(self._of("counters"))[2]
        assert isinstance(now, datetime)  # noqa: S101 (for the type checker: save wrote it)
        return now

    def _load_pools(self) -> None:
        pools = self._state.pools
        for _, key, pool in self._of("pool"):
            pools[key] = pool
        for owner, key, node in self._of("node"):
            pools[owner].nodes[key] = node
        for pool in pools.values():
            _sort(pool.nodes, lambda node: node.number)

    def _load_jobs(self) -> None:
        jobs = self._state.jobs
        for _, key, job in self._of("job"):
            jobs[key] = job
        for owner, key, task in self._of("task"):
            jobs[owner].tasks[key] = task
        _sort(jobs, lambda job: job.number)
        for job in jobs.values():
            self._rebuild(job)

    def _of(self, kind: str) -> Iterator[tuple[str, str, Any]]:
        for owner, key, body in self._rows.get(kind, ()):
            yield owner, key, load(body, self._state.runs)

    def _link_runs(self) -> None:
        """To their nodes and jobs. A job that was made after a run only has the id of that run's job."""
        for number, run in sorted(self._state.runs.items()):
            self._state.pools[run.pool_key].nodes[run.node_id].runs[number] = run
            job = self._state.jobs.get(run.job_key)
            if job is not None and job.number < number:
                job.runs[number] = run

    def _rebuild(self, job: Job) -> None:
        """Its place on its pool, and the queues of its waiting tasks."""
        if "completed" not in (job.state, job.wire.get("previousState")):  # not even one that is being deleted
            self._state.jobs_of_pool.setdefault(job.pool_key, {})[job.key] = job
        waiting = [task for task in job.tasks.values() if _waits(job, task)]
        for task in sorted(waiting, key=lambda task: task.ticket):
            enqueue(job, task, task.ticket)


def _waits(job: Job, task: Task) -> bool:
    return task.state == "active" and task.ticket > 0 and task.key not in job.dependencies.waiting


def _sort(watched: Watched[str, Any], key: Callable[[Any], Any]) -> None:
    entries = sorted(watched.items(), key=lambda entry: key(entry[1]))
    watched.clear()
    for name, value in entries:
        watched[name] = value
