"""Reports ended jobs in bursts.

Snakemake takes all that it was told of in one go. Told of each job as it comes, it is woken for every one of them, in
the midst of what brings the others back, and both sides keep taking the interpreter from each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from snakemake_executor_azurebatch.run.summary import Part

#: A report does not wait any longer than this for others that are on their way.
GATHER_S = 0.25


@dataclass(frozen=True, slots=True)
class Reports:
    """Called at most once per job each, from any thread."""

    placed: Callable[[str], None]  #: key of a job whose outputs stand in their places, before its success
    succeeded: Callable[[str], None]  #: key
    failed: Callable[[str, str], None]  #: key, what to tell the user
    details: Callable[[Mapping[str, Any]], None]  #: a task that has ended, as it is kept: see ``run.records``
    used: Callable[[Part], None] = lambda _: None  #: at the end, once: what was done


class Reporter:
    """Gathers reports while more are on their way; a thread of its own makes them, in the order in which they came.

    ``report`` is called with the key of a job and what to tell the user, None where all is well; it raises nothing.
    """

    def __init__(self, report: Callable[[str, str | None], None], gather_s: float = GATHER_S) -> None:
        self._report = report
        self._gather_s = gather_s
        self._coming = 0  #: jobs that are being brought back
        self._gathered: list[tuple[str, str | None]] = []
        self._is_reporting = self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="azurebatch-report", daemon=True)
        self._thread.start()

    def coming(self) -> None:
        """One more job is being brought back: ``came`` says when that has ended."""
        with self._changed:
            self._coming += 1

    def came(self) -> None:
        """One that was coming has come, or will not."""
        with self._changed:
            self._coming -= 1
            if not self._coming:
                self._changed.notify()

    def add(self, key: str, failure: str | None) -> None:
        """Report this job, at once where no others are coming, and soon in any case."""
        with self._changed:
            self._gathered.append((key, failure))
            if len(self._gathered) == 1:
                self._changed.notify()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is coming, and all that came is reported."""
        with self._changed:
            return not (self._coming or self._gathered or self._is_reporting)

    def close(self, patience_s: float | None = None) -> None:
        """Report what has come by now. Returns when that is done, after ``patience_s`` at the latest."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(patience_s)

    def _run(self) -> None:
        while some := self._next():
            for key, failure in some:
                self._report(key, failure)
            with self._changed:
                self._is_reporting = False

    def _next(self) -> list[tuple[str, str | None]]:
        """The next burst; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._gathered or self._is_closed)
            until_s = time.monotonic() + self._gather_s
            while self._coming and not self._is_closed and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            some, self._gathered = self._gathered, []
            self._is_reporting = bool(some)
            return some
