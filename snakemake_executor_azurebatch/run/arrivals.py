"""Completed tasks as they come: many at a time.

Each wait of a thread hands the interpreter to another one, and where many threads wait for small things, that is
most of what a job costs. So one thread reads the commit records of all that have come, and finishes the tasks that
have left nothing else to be fetched. Those with something to fetch, and those with trouble, get a thread each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.node.protocol import CommitRecord
from snakemake_executor_azurebatch.run.finish import is_at_hand
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.run.reporting import Report

#: So many tasks are taken together at the most: all their records are in memory.
MOST = 64
#: Tasks that are finished at the same time, where there is something to fetch or to wait for.
WORKERS = 8

#: A task that has come, and its commit record where it is known.
_Come = tuple[Sighting, CommitRecord | None]


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done with tasks. None of it raises anything but ``read``."""

    read: Callable[[Iterable[str]], Mapping[str, CommitRecord]]  #: records by key, of those that can be had quickly
    #: once for each task, from any thread; what is to be reported, None where its job goes on
    finish: Callable[[Sighting, CommitRecord | None], Report | None]
    came: Callable[[int, Sequence[Report]], None]  #: so many tasks are finished now, with these reports
    together: Callable[[], AbstractContextManager[object]] = nullcontext  #: around tasks that one thread finishes


class Arrivals:
    """Takes tasks from any thread; ``add`` returns at once."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._come: deque[Sighting] = deque()
        self._first = DaemonPool(1, "azurebatch-arrive")
        self._workers = DaemonPool(WORKERS, "azurebatch-finish")
        self._is_closed = threading.Event()

    def add(self, sightings: Iterable[Sighting]) -> None:
        """More completed tasks."""
        self._come.extend(sightings)
        self._first.submit(self._take)

    def close(self, *, wait: bool) -> None:
        """Return when everything is finished that has come; without ``wait`` nothing more is begun."""
        if not wait:
            self._is_closed.set()
        self._first.shutdown(wait=wait, cancel_futures=not wait)
        self._workers.shutdown(wait=wait, cancel_futures=not wait)

    def _take(self) -> None:
        while self._come and not self._is_closed.is_set():  # else taken with others before
            some = self._with_records([self._come.popleft() for _ in range(min(MOST, len(self._come)))])
            at_hand: list[_Come] = []
            for one in some:
                if one[1] is not None and is_at_hand(one[1]):
                    at_hand.append(one)
                else:
                    self._workers.submit(self._finish, [one])
            self._finish(at_hand)

    def _with_records(self, some: list[Sighting]) -> list[_Come]:
        try:
            records = self._steps.read([sighting.task_id for sighting in some])
        except Exception:  # noqa: BLE001 (each is read by itself then, and what is wrong is told of)
            records = {}
        return [(sighting, records.get(sighting.task_id)) for sighting in some]

    def _finish(self, some: list[_Come]) -> None:
        reports: list[Report] = []
        try:
            with self._steps.together():
                for sighting, record in some:
                    if self._is_closed.is_set():
                        return
                    if (report := self._steps.finish(sighting, record)) is not None:
                        reports.append(report)
        finally:
            self._steps.came(len(some), reports)
