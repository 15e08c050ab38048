"""Taking over what a run has left whose controller was killed.

    look_at_left      what has become of the tasks whose ledger rows are open: asked once, at the start
    Leftovers         those tasks, in whichever Batch job they are
    Adopter.name      a job that is ready gets the task that is left for just this work, or a new one

Only under Snakemake's lock, and only what no living run has: see ``run.claims``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import NotFound, ServiceError, service
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.lanes import BATCH, STAGER
from snakemake_executor_azurebatch.naming import task_id
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import CommitRecord, ProtocolError
from snakemake_executor_azurebatch.run.fingerprint import Context, fingerprint, work_of, works_in
from snakemake_executor_azurebatch.run.finish import MAX_RECORD_BYTES
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.run.ledger import ENDED, Entry, Ledger
from snakemake_executor_azurebatch.run.prepare import destination
from snakemake_executor_azurebatch.run.watch import PAGE_SIZE, SELECT, sighting_of
from snakemake_executor_azurebatch.staging.store import BlobStore

if TYPE_CHECKING:
    from azure.batch import BatchClient

READERS = 16

#: The user's own doing: the next run tells of it, as the killed one would have done.
_TO_BE_TOLD = (protocol.ERROR_COMMAND, protocol.ERROR_MISSING_OUTPUT)
#: Somebody, or the end of its Batch job, has ended the task. source: Azure Batch REST reference, task error codes.
_TERMINATED = "TaskEnded"

#: Reads the commit record of a task; None where there is none. May raise ServiceError, ProtocolError.
ReadRecord = Callable[[str], CommitRecord | None]


class Fate(Enum):
    """What has become of a task that a killed run has noted."""

    ALIVE = "it waits or runs"
    FINISHED = "it has ended, and what it left can be taken"
    UNSENT = "the service has never heard of it"
    LOST = "it came to nothing"


@dataclass(frozen=True, slots=True)
class Left:
    """One task that is left."""

    entry: Entry
    fate: Fate
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Listed:
    """A task as the service lists it."""

    is_completed: bool
    sighting: Sighting


def fate_of(entry: Entry, listed: Listed | None, record: CommitRecord | None, *, goes_on: bool) -> Fate:
    """The fate of a task (pure). ``goes_on``: this run goes on with the task's Batch job.

    ``record`` is asked for only where the task does not live. Tasks whose files Azure Batch moves leave none: theirs
    is the service's word.
    """
    if listed is None and goes_on:
        return Fate.UNSENT
    if listed is not None and not listed.is_completed and goes_on:
        return Fate.ALIVE
    has_ended = listed is not None and listed.is_completed
    sighting = listed.sighting if listed is not None else Sighting(entry.task_id, None)
    if entry.staging == BATCH:
        good = has_ended and sighting.exit_code == 0 and sighting.failure_code is None
        return Fate.FINISHED if good else Fate.LOST
    if record is None:
        return Fate.LOST
    if record.error_class is None:
        return Fate.FINISHED if record.phase == "done" and record.exit_code == 0 else Fate.LOST
    is_told = has_ended and sighting.failure_code != _TERMINATED and record.error_class in _TO_BE_TOLD
    return Fate.FINISHED if is_told else Fate.LOST


def look_at_left(
    client: BatchClient, entries: Iterable[Entry], own_job_ids: Collection[str], read: ReadRecord
) -> list[Left]:
    """What has become of these tasks. ``own_job_ids``: Batch jobs that this run goes on with. Raises ServiceError."""
    waiting = list(entries)
    # Each Batch job for itself: tasks that were moved have the same id in two.
    listed = {job_id: _tasks_of(client, job_id) for job_id in {entry.batch_job_id for entry in waiting}}

    def look(entry: Entry) -> Left:
        goes_on, record = entry.batch_job_id in own_job_ids, None
        there = listed[entry.batch_job_id].get(entry.task_id)
        lives = goes_on and (there is None or not there.is_completed)
        if not lives and entry.staging == STAGER:
            try:
                record = read(entry.task_id)
            except ProtocolError:  # of another version, or cut off: it is run again
                record = None
        fate = fate_of(entry, there, record, goes_on=goes_on)
        return Left(entry, fate, there.sighting if there else Sighting(entry.task_id, 0))

    with DaemonPool(READERS, thread_name_prefix="azurebatch-adopt") as readers:
        return list(readers.map(look, waiting))


def record_reader(store: BlobStore) -> ReadRecord:
    """Reads commit records from the blob container of this workdir."""

    def read(key: str) -> CommitRecord | None:
        blob = protocol.record_blob(destination(key, store.prefix))
        try:
            return CommitRecord.from_json(protocol.decode(store.read_bytes(blob, MAX_RECORD_BYTES)))
        except NotFound:
            return None

    return read


def _tasks_of(client: BatchClient, job_id: str) -> dict[str, Listed]:
    found: dict[str, Listed] = {}
    try:
        with service(f"looking at the tasks of Batch job {job_id}"):
            for task in client.list_tasks(job_id, select=[*SELECT, "state"], max_results=PAGE_SIZE):
                found[str(task.id)] = Listed(task.state == "completed", sighting_of(task))
    except NotFound:
        return {}
    return found


class Leftovers:
    """What earlier runs have left and nobody has taken yet; one for all Batch jobs of a run. Usable from any thread."""

    def __init__(self, ledger: Ledger, found: Iterable[Left] = ()) -> None:
        """Rows of tasks that came to nothing are closed; those of all others wait for their jobs."""
        found = list(found)
        lost = [left.entry.task_id for left in found if left.fate is Fate.LOST]
        if lost:
            ledger.ended(lost, ENDED)
        self._lock = threading.Lock()
        self._left = {left.entry.task_id: left for left in found if left.fate is not Fate.LOST}
        self._of_one: dict[str, set[str]] = {}  #: ids of tasks by each single job in them
        for key, left in self._left.items():
            for one in works_in(left.entry.work):
                self._of_one.setdefault(one, set()).add(key)

    def summary(self) -> str:
        """What was found, as a sentence; empty for nothing."""
        fates = [left.fate for left in self._left.values()]
        alive, finished = fates.count(Fate.ALIVE), fates.count(Fate.FINISHED)
        if not alive + finished:
            return ""
        return f"An earlier run has left {_tasks(alive)} that wait or run, and {_tasks(finished)} that have ended."

    def where(self, work: str) -> str | None:
        """The Batch job in which a task for exactly this work waits or runs, or was going to; None: there is none."""
        with self._lock:
            keys = self._of_one.get(next(iter(works_in(work)), ""), set())
            left = [self._left[key] for key in sorted(keys) if key in self._left]
        not_ended = (one.entry for one in left if one.entry.work == work and one.fate is not Fate.FINISHED)
        return next((entry.batch_job_id for entry in not_ended), None)

    def take(self, work: str) -> list[Left]:
        """All tasks that share a job with this work: groups may have been put together otherwise."""
        with self._lock:
            keys = {key for one in works_in(work) for key in self._of_one.pop(one, ())}
            return [self._left.pop(key) for key in sorted(keys) if key in self._left]

    def take_others(self, works: set[str]) -> list[Left]:
        """Tasks of none of these single jobs that have not ended."""
        with self._lock:
            keys = [
                key
                for key, left in self._left.items()
                if left.fate is not Fate.FINISHED and not works & works_in(left.entry.work)
            ]
            return [self._left.pop(key) for key in keys]


@dataclass
class Adopter:
    """Gives the jobs that come to one Batch job their tasks. Usable from any thread."""

    client: BatchClient
    ledger: Ledger
    batch_job_id: str
    left: Leftovers
    say: Callable[[str], None] = print
    begun: threading.Event = field(default_factory=threading.Event)  #: jobs of this run have been handed over
    _adopted: dict[str, Left] = field(default_factory=dict)
    _named: dict[str, Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def name(
        self, request: JobRequest, context: Context, versions: list[str], is_cut_off: Callable[[str], bool]
    ) -> JobRequest:
        """The request with its task's id. ``is_cut_off``: whether Snakemake has not taken the end of that task.

        All other old tasks with a job of this one in them are ended, wherever they are: their work has changed, their
        group was put together otherwise, or it goes to another pool.
        """
        mark, work = fingerprint(request, context, versions), work_of(request.members)
        left = self.left.take(work)
        chosen = next((one for one in left if self._fits(one, mark, request.attempt, is_cut_off)), None)
        self._end([one for one in left if one is not chosen])
        if chosen is not None:
            key, generation = chosen.entry.task_id, chosen.entry.generation
        else:
            generation = self.ledger.next_generation(mark, request.attempt)
            wildcards = request.members[0]["wildcards"] if len(request.members) == 1 else {}
            key = task_id(request.name, wildcards, mark, request.attempt, generation)
        staging = request.way.staging if request.way is not None and request.rendered is not None else STAGER
        entry = Entry(
            *(key, self.batch_job_id, self.ledger.store_id, work, mark, request.attempt, generation), staging=staging
        )
        with self._lock:
            if chosen is not None and chosen.fate is not Fate.UNSENT:
                self._adopted[key] = chosen
            else:
                self._named[key] = entry
        return replace(request, key=key)

    def submitted(self, keys: Iterable[str]) -> None:
        """Note that these are going to be created in this Batch job, before they are; perhaps none."""
        self.begun.set()
        keys = list(keys)
        with self._lock:
            named = {key: entry for key in keys if (entry := self._named.pop(key, None)) is not None}
        if named:
            self.ledger.submitted(named.values())
        if others := [key for key in keys if key not in named]:  # they were in another one, or are created again
            self.ledger.moved(others, self.batch_job_id)

    def take(self, key: str) -> Left | None:
        """The task that is left for the job with this key; nothing where it is to be created."""
        with self._lock:
            return self._adopted.pop(key, None)

    def keep_only(self, works: set[str]) -> None:
        """End what is left of jobs that are not to run now. What they have finished stays for a later run."""
        self._end(self.left.take_others(works))

    def _fits(self, left: Left, mark: str, attempt: int, is_cut_off: Callable[[str], bool]) -> bool:
        """What has ended counts from anywhere; what goes on does so in its own Batch job only."""
        entry = left.entry
        is_here = left.fate is Fate.FINISHED or entry.batch_job_id == self.batch_job_id
        return is_here and entry.fingerprint == mark and entry.attempt == attempt and is_cut_off(entry.task_id)

    def _end(self, left: list[Left]) -> None:
        """Terminate these tasks, and ask for them no more."""
        for one in left:
            if one.fate is Fate.ALIVE:
                self._terminate(one.entry)
        if left:
            self.ledger.ended([one.entry.task_id for one in left], ENDED)

    def _terminate(self, entry: Entry) -> None:
        try:
            with service(f"ending task {entry.task_id}"):
                self.client.terminate_task(entry.batch_job_id, entry.task_id)
        except ServiceError as error:
            if error.code not in ("TaskNotFound", "TaskCompleted"):
                self.say(f"A task that an earlier run has left could not be ended: {error}")
            return
        self.say(
            f"Ended task {entry.task_id} of an earlier run: its work has changed, is done in another task, or is not "
            "wanted now."
        )


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
