"""Waits for a service that does not answer: with growing pauses, told once, up to a limit."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from snakemake_executor_azurebatch.errors import AccessRefused, ServiceError, ServiceUnreachable
from snakemake_executor_azurebatch.run.judge import Cause, Failure

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
#: Failures that are further apart are not one outage: in between, nothing was tried.
APART_S = 300.0
#: Busy, or broken for now. source: Azure Batch REST reference, error codes.
BUSY = (429, 503)
_PASSING = (408, *BUSY, 500, 502, 504)

#: For calls that are repeated from here: azure-core's ten tries would keep the user waiting for minutes for the news.
BRIEF: dict[str, Any] = {"retry_total": 3, "retry_connect": 2, "retry_read": 2, "retry_backoff_factor": 0.4}

T = TypeVar("T")


class OutOfPatience(ServiceError):
    """A service has failed for too long. ``failure``: what that is for the jobs that need it."""

    def __init__(self, error: ServiceError, lasted_s: float) -> None:
        detail = f"For {shown_s(lasted_s)}: {error}"
        super().__init__(detail, error.code, error.status)
        self.failure = Failure(_cause(error), detail)


def is_passing(error: ServiceError) -> bool:
    """Whether the service may well answer later: unreachable, busy, or credentials that have to be renewed."""
    if isinstance(error, OutOfPatience):
        return False
    return isinstance(error, (ServiceUnreachable, AccessRefused)) or error.status in _PASSING


class Patience:
    """The outages of one service, seen from any thread.

    One thing may fail for long while others work: submitting is throttled, say, and listing is not. So the limit is for
    each thing that is tried, and an outage is over when nothing fails any more. Where nothing at all works, whatever
    begins later is given up together with the first.
    """

    def __init__(
        self,
        name: str,
        limit_s: float,
        say: Callable[[str], None],
        first_pause_s: float = FIRST_PAUSE_S,
        stopping: threading.Event | None = None,
    ) -> None:
        """``stopping``: ends all waits, as ``stop`` does."""
        self._name = name
        self._limit_s = limit_s
        self._say = say
        self._first_pause_s = first_pause_s
        self._lock = threading.Lock()
        self._failing: set[Trying] = set()
        self._told_s = 0.0  #: since when something has failed
        self._nothing_works_s: float | None = None  #: since when nothing has worked
        self._last_failed_s = 0.0
        self._stopping = stopping or threading.Event()

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopping.set()

    def rest(self, pause_s: float) -> bool:
        """Wait, unless everything ends; whether it does."""
        return self._stopping.wait(pause_s)

    def trying(self) -> Trying:
        """Something that is going to be tried, perhaps several times."""
        return Trying(self)

    def __call__(self, step: Callable[[], T]) -> T:
        """Take the step, again and again while the service fails. Raises what it raises otherwise, OutOfPatience."""
        with self.trying() as trying:
            while True:
                try:
                    result = step()
                except ServiceError as error:
                    if not is_passing(error):
                        if not isinstance(error, OutOfPatience):  # it is an answer
                            trying.worked()
                        raise
                    if self.rest(trying.failed(error)):
                        raise
                else:
                    trying.worked()
                    return result

    @property
    def limit_s(self) -> float:
        """How long it lasts."""
        return self._limit_s

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures."""
        return min(self._first_pause_s * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_S)

    def has_failed(self, trying: Trying, error: ServiceError, now_s: float) -> float:
        """Note a failure; since when nothing has worked."""
        with self._lock:
            if not self._failing:  # said under the lock, so that its end is not told first
                self._told_s = now_s
                self._say(f"{self._name} {_does(error)}, waiting for it: {error}")
            self._failing.add(trying)
            if self._nothing_works_s is None or now_s - self._last_failed_s > APART_S:
                self._nothing_works_s = now_s
            self._last_failed_s = now_s
            return self._nothing_works_s

    def has_worked(self, trying: Trying) -> None:
        """Note a success."""
        if self._nothing_works_s is None and trying not in self._failing:  # nearly always: the lock is not needed
            return
        with self._lock:
            self._nothing_works_s = None
            if trying in self._failing:
                self._failing.discard(trying)
                if not self._failing:
                    self._say(f"{self._name} answers again, after {shown_s(time.monotonic() - self._told_s)}.")

    def is_given_up(self, trying: Trying) -> None:
        """It is not tried any more, whether it works by now or not."""
        if trying in self._failing:
            with self._lock:
                self._failing.discard(trying)


class Trying:
    """One thing that is tried until it works, by one thread at a time."""

    __slots__ = ("_began_s", "_failures", "_patience")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._began_s: float | None = None
        self._failures = 0

    def failed(self, error: ServiceError) -> float:
        """Note a failure; how many seconds to wait before the next try. Raises OutOfPatience."""
        now_s = time.monotonic()
        self._began_s = now_s if self._began_s is None else self._began_s
        self._failures += 1
        lasted_s = now_s - min(self._began_s, self._patience.has_failed(self, error, now_s))
        left_s = self._patience.limit_s - lasted_s
        if left_s <= 0:
            raise OutOfPatience(error, lasted_s) from error
        return min(self._patience.pause_s(self._failures) * random.uniform(0.7, 1.0), max(0.05, left_s))  # noqa: S311 (no secret)

    def worked(self) -> None:
        """Note a success."""
        self._began_s, self._failures = None, 0
        self._patience.has_worked(self)

    def forget(self) -> None:
        """It is not tried for now: what has failed says nothing of the next time."""
        self._began_s, self._failures = None, 0
        self._patience.is_given_up(self)

    def __enter__(self) -> Trying:
        """Try it."""
        return self

    def __exit__(self, *_: object) -> None:
        """It is not tried any more."""
        self._patience.is_given_up(self)


def shown_s(seconds: float) -> str:
    """A time in words: 7 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _does(error: ServiceError) -> str:
    if isinstance(error, AccessRefused):
        return "refuses the credentials"
    return "asks for fewer requests" if error.status in BUSY else "does not answer"


def _cause(error: ServiceError) -> Cause:
    if isinstance(error, AccessRefused):
        return Cause.CREDENTIALS
    return Cause.THROTTLED if error.status in BUSY else Cause.SERVICE
