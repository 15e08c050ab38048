"""Jobs that are submitted again because infrastructure has failed: how often, after which pause, what was before.

This is none of Snakemake's ``retries``: those are for the user's commands, and the next try is the same attempt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from snakemake_executor_azurebatch.run.judge import Failure, Sighting

LONGEST_PAUSE_S = 120.0


@dataclass(frozen=True, slots=True)
class Try:
    """One that came to nothing."""

    failure: Failure
    ended: datetime | None = None

    def __str__(self) -> str:
        """For the screen."""
        node = f" (node {self.failure.node_id})" if self.failure.node_id else ""
        when = f"{self.ended:%H:%M:%S} UTC: " if self.ended else ""
        first = self.failure.detail.partition("\n")[0]
        return f"{when}{self.failure.cause.value}{node}" + (f": {first}" if first else "")


class Again:
    """The earlier tries of a run's jobs. Usable from any thread."""

    def __init__(self, times: int, first_pause_s: float) -> None:
        self._times = times
        self._first_pause_s = first_pause_s
        self._lock = threading.Lock()
        self._tries: dict[str, list[Try]] = {}
        self._handled: dict[str, Sighting] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._is_stopped = False

    def tries(self, key: str) -> tuple[Try, ...]:
        """What was tried before, oldest first."""
        with self._lock:
            return tuple(self._tries.get(key, ()))

    @property
    def count(self) -> int:
        """Tries of all jobs that came to nothing."""
        with self._lock:
            return sum(map(len, self._tries.values()))

    def take(self, sighting: Sighting, failure: Failure) -> float | None:
        """Note a try that came to nothing; after how many seconds the next one is due, None where there is none."""
        key = sighting.task_id
        with self._lock:
            earlier = self._tries.setdefault(key, [])
            if not failure.is_infrastructure or len(earlier) >= self._times:
                return None
            pause_s = min(self._first_pause_s * 2.0 ** len(earlier), LONGEST_PAUSE_S)
            earlier.append(Try(failure, sighting.ended))
            self._handled[key] = sighting
            return pause_s

    def is_handled(self, sighting: Sighting) -> bool:
        """Whether this is what a task was submitted once more for: a listing may come late."""
        with self._lock:
            return self._handled.get(sighting.task_id) == sighting

    def later(self, key: str, pause_s: float, step: Callable[[], None]) -> None:
        """Take a step after a pause, from another thread, unless ``stop`` or ``cancel`` comes before."""

        def due() -> None:
            if self.cancel(key):
                step()

        timer = threading.Timer(pause_s, due)
        timer.daemon = True
        with self._lock:
            if not self._is_stopped:
                self._timers[key] = timer
                timer.start()

    def cancel(self, key: str) -> bool:
        """Take the step for this job not any more; whether there was one to be taken."""
        with self._lock:
            timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def stop(self) -> None:
        """Take no more steps."""
        with self._lock:
            self._is_stopped = True
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
