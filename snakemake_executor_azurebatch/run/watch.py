"""Watches the tasks of one Batch job: one listing per interval, filtered to what was completed since the last.

In a time without completions their counts are asked for instead, and a listing only where these have changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.run.judge import Cause, Failure, Sighting
from snakemake_executor_azurebatch.run.looking_back import LookingBack
from snakemake_executor_azurebatch.run.oversee import ENDED_CODES
from snakemake_executor_azurebatch.run.pace import Counts, Pace
from snakemake_executor_azurebatch.run.patience import BRIEF, OutOfPatience, Patience
from snakemake_executor_azurebatch.run.said import details_text
from snakemake_executor_azurebatch.run.wire import taking

if TYPE_CHECKING:
    from azure.batch import BatchClient

MAX_BACKOFF_S = 30.0
PAGE_SIZE = 1000
SELECT = ["id", "stateTransitionTime", "executionInfo", "nodeInfo"]


class Look(Protocol):
    """Sees the completed tasks that changed since a time, each with the time of its change."""

    def __call__(self, since: datetime | None) -> Iterator[list[tuple[Sighting, datetime]]]:
        """Look once; many tasks come in several parts."""
        ...


def look_at(client: BatchClient, batch_job_id: str, is_open: Callable[[str], bool] = lambda _: True) -> Look:
    """A look at the Batch service. It raises ServiceError.

    Tasks that are not open are passed over: they were seen before, and most of a listing is of that kind.
    """

    def look(since: datetime | None) -> Iterator[list[tuple[Sighting, datetime]]]:
        wanted = "state eq 'completed'"
        if since is not None:
            wanted += f" and stateTransitionTime ge DateTime'{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'"
        rows: list[dict[str, Any]] = []
        with service("looking at the tasks"):
            how = {"filter": wanted, "select": SELECT, "max_results": PAGE_SIZE, **BRIEF, **taking(rows)}
            found = client.list_tasks(batch_job_id, **how)
            for _ in found.by_page():
                yield [
                    (sighting_of(task), _time(task.get("stateTransitionTime")) or datetime.now(UTC))
                    for task in rows
                    if is_open(task["id"])
                ]
                rows.clear()

    return look


def count_in(client: BatchClient, batch_job_id: str) -> Callable[[], Counts]:
    """Counts the tasks of a Batch job by their states: one small request. It raises ServiceError."""

    def count() -> Counts:
        with service("counting the tasks"):
            found = client.get_job_task_counts(batch_job_id, **BRIEF).task_counts
        return Counts(found.active, found.running, found.completed)

    return count


@dataclass(frozen=True, slots=True)
class Sight:
    """The two ways to see what has become of tasks."""

    look: Look
    count: Callable[[], Counts] | None = None  #: None: a listing each time


class AfterLook(Protocol):
    """What else is to be looked at, now and then. It may raise ServiceError."""

    def __call__(self, created: frozenset[str], quiet_since_s: float) -> None:
        """``created``: the watched tasks that are known to be there; nothing was completed since then."""
        ...


@dataclass(frozen=True, slots=True)
class Events:
    """What the watcher tells of, from its own thread."""

    completed: Callable[[Sequence[Sighting]], None]  #: watched tasks, each once
    gave_up: Callable[[Failure], None]  #: nothing can be seen any more
    say: Callable[[str], None]


class Watcher:
    """Tells once of each watched task that is completed. Nothing that goes wrong ends it."""

    def __init__(
        self, sight: Sight, interval_s: float, events: Events, patience: Patience, after_look: AfterLook | None = None
    ) -> None:
        self._sight = sight
        self._interval_s = interval_s
        self._pace = Pace(interval_s)
        self._events = events
        self._looking = patience.trying()
        self._after_look = after_look
        self._watched: set[str] = set()
        self._created: set[str] = set()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._looking_back = LookingBack()
        self._quiet_since_s = time.monotonic()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="azurebatch-watch", daemon=True)
        self._thread.start()

    def add(self, task_ids: Iterable[str]) -> None:
        """Watch these tasks. To be called before they are created, so that no completion is missed."""
        with self._lock:
            if not self._watched:
                self._quiet_since_s = time.monotonic()
                self._pace.begun()
            self._watched.update(task_ids)
            self._pace.disturbed()
        self._changed.set()

    def created(self, task_ids: Iterable[str]) -> None:
        """These tasks are there now: if they are not any more later on, somebody has deleted them."""
        with self._lock:
            self._created.update(self._watched.intersection(task_ids))
            self._pace.disturbed()
        self._changed.set()

    def discard(self, task_id: str) -> bool:
        """Watch this task no longer: it was not created, or is gone. Whether it was watched."""
        with self._lock:
            was_watched = task_id in self._watched
            self._watched.discard(task_id)
            self._created.discard(task_id)
        return was_watched

    def stop(self, patience_s: float | None = None) -> None:
        """Stop watching. Returns when the look under way has ended, after ``patience_s`` at the latest."""
        self._stopping.set()
        self._changed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(patience_s)

    def _watch(self) -> None:
        not_before_s = 0.0
        while not self._stopping.is_set():
            if not self._watched:
                # Nothing to see: no requests until something is added.
                self._looking.forget()
                self._changed.wait()
            looked_s = time.monotonic()
            while not self._stopping.is_set():
                self._changed.clear()  # tasks that are added while nothing could finish shorten the pause
                left_s = max(looked_s + self._pace.pause_s, not_before_s) - time.monotonic()
                if left_s <= 0 or self._stopping.is_set():
                    break
                self._changed.wait(left_s)
            if self._watched and not self._stopping.is_set():
                not_before_s = time.monotonic() + self._look_once()

    def _look_once(self) -> float:
        """Seconds until the next look, at the least."""
        try:
            if self._is_worth_listing():
                self._look_at_tasks()
            self._looking.worked()
            self._look_beyond()
        except ServiceError as error:
            return self._failed(error)
        except Exception as bug:  # noqa: BLE001 (whatever it was: jobs that nobody watches would never end)
            self._tell_once(f"While watching the tasks: {bug!r}")
            return max(self._interval_s, MAX_BACKOFF_S)
        return 0.0

    def _look_beyond(self) -> None:
        """At more than the tasks. What fails there is no outage, which is seen by the next look at the tasks."""
        if self._after_look is None or not self._watched:
            return
        with self._lock:
            created, quiet_since_s = frozenset(self._created), self._quiet_since_s
        try:
            self._after_look(created, quiet_since_s)
        except ServiceError as error:
            if error.code in ENDED_CODES:
                raise
            self._tell_once(f"What tasks need could not be looked at, trying again: {error}")

    def _is_worth_listing(self) -> bool:
        if self._sight.count is None or not self._pace.is_quiet:
            return True
        counts = self._sight.count()
        with self._lock:
            return self._pace.wants_listing(counts)

    def _look_at_tasks(self) -> None:
        changes: list[datetime] = []  #: the newest of each part
        found, began_s = 0, time.monotonic()
        for some in self._sight.look(self._looking_back.since(began_s)):
            if some:
                changes.append(max(changed for _, changed in some))
            new = [sighting for sighting, _ in some if self.discard(sighting.task_id)]
            if new:
                found += len(new)
                self._quiet_since_s = time.monotonic()
                self._tell(new)
        self._looking_back.listed(began_s, max(changes, default=None))
        with self._lock:
            self._pace.listed(found)

    def _failed(self, error: ServiceError) -> float:
        if error.code in ENDED_CODES:
            self._events.gave_up(Failure(Cause.JOB_GONE, str(error)))
            return self._interval_s
        try:
            return max(self._interval_s, self._looking.failed(error))
        except OutOfPatience as out:
            self._events.gave_up(out.failure)
            return self._interval_s

    def _tell(self, some: Sequence[Sighting]) -> None:
        try:
            self._events.completed(some)
        except Exception as bug:  # noqa: BLE001 (one job's trouble is not to be the others')
            self._tell_once(f"While tasks were reported ({some[0].task_id} the first): {bug!r}")

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._events.say(text)


def sighting_of(task: Mapping[str, Any]) -> Sighting:
    """What the service says of a task, by the names on the wire: the SDK's properties take several times as long."""
    execution = task.get("executionInfo") or {}
    failure = execution.get("failureInfo") or {}
    return Sighting(
        task_id=str(task["id"]),
        exit_code=execution.get("exitCode"),
        failure_code=failure.get("code"),
        failure_message=_words_of(failure),
        node_id=(task.get("nodeInfo") or {}).get("nodeId"),
        started=_time(execution.get("startTime")),
        ended=_time(execution.get("endTime")),
        requeues=execution.get("requeueCount") or 0,
    )


def _words_of(failure: Mapping[str, Any]) -> str | None:
    """The message is one sentence for each code; what the node, the runtime or the registry said is in the details."""
    details = details_text(
        (str(one.get("name") or ""), str(one.get("value") or "")) for one in failure.get("details") or ()
    )
    return "\n".join(filter(None, (failure.get("message"), details))) or None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
