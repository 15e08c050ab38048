"""How long ago something was, on a machine that may have slept meanwhile.

The monotonic clock stands still while a laptop sleeps (Linux and macOS), the other one may be set back: the larger of
both counts. What is counted by it ends later than it would have to, and never sooner.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Since:
    """A moment, on both clocks."""

    _awake_s: float  #: on the monotonic clock
    _clock_s: float  #: seconds since 1970

    @classmethod
    def ago(cls, age_s: float = 0.0) -> Since:
        """The moment that was ``age_s`` seconds ago."""
        return cls(time.monotonic() - age_s, time.time() - age_s)

    @property
    def elapsed_s(self) -> float:
        """Seconds from then to now."""
        return max(time.monotonic() - self._awake_s, time.time() - self._clock_s)
