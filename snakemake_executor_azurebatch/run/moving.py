"""Jobs that have lost too many nodes go to dedicated ones, where there are any for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.jobs import JobRequest

#: How soon it is tried again to open a pool of dedicated nodes.
AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Move:
    """Where a job can go that has lost too many nodes."""

    pool_id: str
    submit: Callable[[], None]  #: run it there from now on


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a run."""

    find: Callable[[str], JobRequest | None]  #: by key; None: it is reported
    #: takes a job that has lost so many nodes off the run, and to its new place; raises nothing
    hand_over: Callable[[JobRequest, Move, int], None]


class ToDedicated(Protocol):
    """Finds dedicated nodes for jobs."""

    def prepare(self, request: JobRequest) -> Move | None:
        """A place for the job; None where it stays. From a thread of its own. Raises AzureBatchError."""
        ...


class Mover:
    """Moves jobs that have lost too many nodes, in a thread of its own: a pool may have to be opened for them.

    What keeps a job where it is gets told once.
    """

    def __init__(self, to_dedicated: ToDedicated | None, limit: int, say: Callable[[str], None], jobs: Jobs) -> None:
        """``limit``: so many lost nodes are too many; 0: never."""
        self._to_dedicated = to_dedicated
        self._limit = limit
        self._say = say
        self._jobs = jobs
        self._has_told = False
        self._under_way: set[str] = set()
        self._lock = threading.Lock()
        self._mover = DaemonPool(1, "azurebatch-move")
        self._not_before_s = float("-inf")

    @property
    def may_move(self) -> bool:
        """Whether any job may ever go."""
        return self._to_dedicated is not None and bool(self._limit)

    def requeued(self, counts: Mapping[str, int]) -> None:
        """Open tasks that have lost nodes, and how many: those that have lost too many go. Returns at once."""
        unlucky = {key: count for key, count in counts.items() if count >= self._limit}
        with self._lock:
            new = unlucky.keys() - self._under_way
            self._under_way |= new
        with suppress(RuntimeError):  # the run ends
            for key in new:
                self._mover.submit(self._move, key, unlucky[key])

    def close(self) -> None:
        """Begin no more moves."""
        self._mover.shutdown(wait=False, cancel_futures=True)

    def _move(self, key: str, count: int) -> None:
        try:
            request = self._jobs.find(key)
            move = self._prepare(request) if request is not None else None
            if request is not None and move is not None:
                self._jobs.hand_over(request, move, count)
        finally:
            with self._lock:
                self._under_way.discard(key)

    def _prepare(self, request: JobRequest) -> Move | None:
        if self._to_dedicated is None or time.monotonic() < self._not_before_s:
            return None
        try:
            return self._to_dedicated.prepare(request)
        except Exception as error:  # noqa: BLE001 (whatever it was: the job goes on where it is)
            self._not_before_s = time.monotonic() + AGAIN_S
            if not self._has_told:
                self._has_told = True
                self._say(f"Task {request.key} cannot go to dedicated nodes, and stays where it is: {error}")
            return None
