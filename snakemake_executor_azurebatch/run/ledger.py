"""What was submitted: one row for each task, written before the service is asked to create it.

One SQLite file. A controller that was killed has left its rows open; the next one finds them here, and asks the
service what has become of their tasks. Losing the ledger costs runs of tasks, never correctness: ids of tasks come
from a salt that is in it, so that a new ledger gives new ids.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.sqlite_file import Kind, move_aside, open_file, write

FILE = "ledger.sqlite"

#: What an open row is worth nothing after: Azure Batch forgets tasks and nodes their files (source: Azure Batch
#: documentation, retention time of tasks: seven days), and blobs are not to stay for ever.
OPEN_AT_MOST_S = 14 * 24 * 3600.0

OPEN, DONE, FAILED, ENDED = "open", "done", "failed", "ended"

_SCHEMA = """
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY, batch_job_id TEXT NOT NULL, store_id TEXT NOT NULL, work TEXT NOT NULL,
    fingerprint TEXT NOT NULL, attempt INTEGER NOT NULL, generation INTEGER NOT NULL, staging TEXT NOT NULL,
    state TEXT NOT NULL, since REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_fingerprint ON tasks (fingerprint, attempt, generation);
CREATE INDEX by_state ON tasks (state);
CREATE TABLE batch_jobs (
    batch_job_id TEXT PRIMARY KEY, store_url TEXT NOT NULL, grant_id TEXT NOT NULL, since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE salt (salt TEXT NOT NULL);
"""


def _salted(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO salt VALUES (?)", (uuid.uuid4().hex,))


_KIND = Kind("ledger", _SCHEMA, version=1, application_id=0x534D4C47, filled=_salted)  # "SMLG"


@dataclass(frozen=True, slots=True)
class Entry:
    """One task. Times are seconds since 1970."""

    task_id: str
    batch_job_id: str
    store_id: str  #: of the blob container that its files are in
    work: str  #: rule and wildcards of each of its jobs, as text
    fingerprint: str  #: of all that the result depends on
    attempt: int
    generation: int  #: how many tasks of the same work came before it
    staging: str  #: who moves its files
    state: str = OPEN
    since: float = 0.0


#: All of an entry but its state and since when.
_what = attrgetter(*(field.name for field in fields(Entry) if field.name not in ("state", "since")))


@dataclass(frozen=True, slots=True)
class BatchJobEntry:
    """One Batch job of this workdir. ``store_url``: of the blob container that its tasks have access to."""

    batch_job_id: str
    store_url: str
    grant_id: str  #: names the stored access policies of that access
    since: float = 0.0


class Ledger:
    """Usable from any thread; every method is one short transaction. ``store_id``: rows of others are not seen."""

    def __init__(self, path: Path, store_id: str, say: Callable[[str], None]) -> None:
        self._path = path
        self.store_id = store_id
        self._say = say
        self._told = False
        self._lock = threading.Lock()
        self._is_durable: bool | None = None  #: how the connection writes now; None: nobody has said
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._open_or_start_anew()
        self.salt = str(self._connection.execute("SELECT salt FROM salt").fetchone()[0])

    def submitted(self, entries: Iterable[Entry]) -> None:
        """Note tasks that are going to be created. On disk when this returns, also if the power fails then."""
        now_s = time.time()
        rows = [(*_what(entry), OPEN, now_s) for entry in entries]
        self._write("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows, is_durable=True)

    def moved(self, task_ids: Iterable[str], batch_job_id: str) -> None:
        """Note that tasks are going to be created again, in this Batch job. On disk when this returns."""
        rows = [(batch_job_id, task_id, batch_job_id) for task_id in task_ids]
        statement = "UPDATE tasks SET batch_job_id = ? WHERE task_id = ? AND batch_job_id != ?"
        self._write(statement, rows, is_durable=True)

    def ended(self, task_ids: Iterable[str], state: str) -> None:
        """Note what has become of tasks: DONE, FAILED or ENDED. The next run asks for them no more."""
        rows = [(state, time.time(), task_id) for task_id in task_ids]
        self._write("UPDATE tasks SET state = ?, since = ? WHERE task_id = ?", rows)

    def open_tasks(self) -> list[Entry]:
        """Tasks whose end nobody has noted yet, of this store; those that are too old are noted as ended."""
        long_ago = time.time() - OPEN_AT_MOST_S
        self._write("UPDATE tasks SET state = ? WHERE state = ? AND since < ?", [(ENDED, OPEN, long_ago)])
        query = "SELECT * FROM tasks WHERE state = ? AND store_id = ? ORDER BY task_id"
        return [Entry(*row) for row in self._read(query, (OPEN, self.store_id))]

    def next_generation(self, fingerprint: str, attempt: int) -> int:
        """One more than that of any task of this work and attempt."""
        query = "SELECT max(generation) FROM tasks WHERE fingerprint = ? AND attempt = ?"
        found = self._read(query, (fingerprint, attempt))
        return 0 if not found or found[0][0] is None else int(found[0][0]) + 1

    def add_batch_job(self, entry: BatchJobEntry) -> None:
        """Note a Batch job that is going to be created."""
        row = astuple(replace(entry, since=time.time()))
        self._write("INSERT OR REPLACE INTO batch_jobs VALUES (?, ?, ?, ?)", [row], is_durable=True)

    def batch_job(self, batch_job_id: str) -> BatchJobEntry | None:
        """What was noted of a Batch job."""
        found = self._read("SELECT * FROM batch_jobs WHERE batch_job_id = ?", (batch_job_id,))
        return BatchJobEntry(*found[0]) if found else None

    def close(self) -> None:
        """Close the file. The ledger cannot be used afterwards, but calls of ``ended`` do no harm."""
        with self._lock:
            self._connection.close()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]], *, is_durable: bool = False) -> None:
        """One transaction. A full disk costs what a later run could have taken over, not this run."""
        with self._lock:
            try:
                if is_durable is not self._is_durable:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
                    self._is_durable = is_durable
                write(self._connection, statement, rows)
            except sqlite3.ProgrammingError:
                return  # closed: what was not noted is asked for by the next run
            except sqlite3.DatabaseError as error:
                self._tell(error)

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                self._tell(error)
                return []

    def _tell(self, error: sqlite3.DatabaseError) -> None:
        if not self._told:
            self._told = True
            self._say(
                f"Warning: {self._path} cannot be used ({error}): should this run be killed, the next one may run "
                "tasks again that have ended well."
            )

    def _open_or_start_anew(self) -> sqlite3.Connection:
        try:
            return open_file(self._path, _KIND)
        except sqlite3.OperationalError as error:
            self._tell(error)
            return open_file(None, _KIND)
        except sqlite3.DatabaseError as error:
            self._tell(error)
            move_aside(self._path)
            return open_file(self._path, _KIND)
