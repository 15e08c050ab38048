"""Reports ended jobs in bursts.

Snakemake takes all that it was told of in one go. Told of each job as it comes, it is woken for every one of them, in
the midst of what brings the others back, and both sides keep taking the interpreter from each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from snakemake_executor_azurebatch.run.summary import Part

#: A report does not wait any longer than this for others that are on their way.
GATHER_S = 0.25

#: The key of a job that has ended, and what to tell the user; None where all is well.
Report = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Reports:
    """Called at most once per job each, from any thread."""

    placed: Callable[[str], None]  #: key of a job whose outputs stand in their places, before its success
    succeeded: Callable[[str], None]  #: key
    failed: Callable[[str, str], None]  #: key, what to tell the user
    details: Callable[[Mapping[str, Any]], None]  #: a task that has ended, as it is kept: see ``run.records``
    used: Callable[[Part], None] = lambda _: None  #: at the end, once: what was done
    burst: Callable[[], AbstractContextManager[object]] = nullcontext  #: around many of the above


class Reporter:
    """Gathers reports while more are on their way; a thread of its own makes them, in the order in which they came.

    ``report`` is called with those of each burst; it raises nothing.
    """

    def __init__(self, report: Callable[[Sequence[Report]], None], gather_s: float = GATHER_S) -> None:
        self._report = report
        self._gather_s = gather_s
        self._coming = 0  #: jobs that are being brought back
        self._gathered: list[Report] = []
        self._is_reporting = self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="azurebatch-report", daemon=True)
        self._thread.start()

    def coming(self, count: int) -> None:
        """So many more jobs are being brought back: ``came`` says when that has ended."""
        with self._changed:
            self._coming += count

    def came(self, count: int, reports: Sequence[Report]) -> None:
        """So many that were coming have come, or will not. These are reported, at once where no others are coming."""
        with self._changed:
            self._coming -= count
            is_first = bool(reports) and not self._gathered
            self._gathered += reports
            if is_first or not self._coming:
                self._changed.notify()

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
            self._report(some)
            with self._changed:
                self._is_reporting = False

    def _next(self) -> list[Report]:
        """The next burst; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._gathered or self._is_closed)
            until_s = time.monotonic() + self._gather_s
            while self._coming and not self._is_closed and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            some, self._gathered = self._gathered, []
            self._is_reporting = bool(some)
            return some
