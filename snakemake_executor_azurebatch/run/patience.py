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
    """The outages of one service, seen from any thread."""

    def __init__(
        self, name: str, limit_s: float, say: Callable[[str], None], first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        self._name = name
        self._limit_s = limit_s
        self._say = say
        self._first_pause_s = first_pause_s
        self._lock = threading.Lock()
        self._began_s: float | None = None
        self._failures = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopping.set()

    def rest(self, pause_s: float) -> None:
        """Wait, unless everything ends."""
        self._stopping.wait(pause_s)

    def __call__(self, step: Callable[[], T]) -> T:
        """Take the step, again and again while the service fails. Raises what it raises otherwise, OutOfPatience."""
        while True:
            try:
                result = step()
            except ServiceError as error:
                if not is_passing(error):
                    raise
                pause_s = self.failed(error)
                if self._stopping.wait(pause_s):
                    raise
            else:
                self.worked()
                return result

    def failed(self, error: ServiceError) -> float:
        """Note a failure; how many seconds to wait before the next try. Raises OutOfPatience."""
        with self._lock:
            now_s = time.monotonic()
            is_new = self._began_s is None
            self._began_s = now_s if self._began_s is None else self._began_s
            lasted_s = now_s - self._began_s
            self._failures += 1
            pause_s = min(self._first_pause_s * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE_S)
            if is_new:  # said under the lock, so that its end is not told first
                self._say(f"{self._name} {_does(error)}, waiting for it: {error}")
        if lasted_s >= self._limit_s:
            raise OutOfPatience(error, lasted_s) from error
        return min(pause_s * random.uniform(0.7, 1.0), max(0.05, self._limit_s - lasted_s))  # noqa: S311 (no secret)

    def worked(self) -> None:
        """Note a success."""
        if self._began_s is None:  # nearly always; without the lock, since the next success says it, too
            return
        with self._lock:
            began_s, self._began_s, self._failures = self._began_s, None, 0
            if began_s is not None:
                self._say(f"{self._name} answers again, after {shown_s(time.monotonic() - began_s)}.")


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
