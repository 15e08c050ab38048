"""Where the local service takes the time from. The engine never asks: it is told.

Everything that the service itself times (boots, transitions, wall clocks of jobs, retention, schedules,
automatic scaling, simulated tasks) follows this one clock. It can run faster than the world, be moved on,
and be wrong. Processes of real tasks live in the world's time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

#: No single wait of the event loop is longer, however slowly the clock runs.
_LONGEST_WAIT_S = 3600.0


class ServiceClock:
    """The service's clock: ``speed`` seconds pass on it in one second of the world."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"the speed of a clock is greater than 0, not {speed:g}")
        self._speed = speed
        self._skew_s = 0.0
        self._since = time.monotonic()
        self._passed_s = 0.0  #: on this clock, until ``_since``
        self._began = datetime.now(UTC)
        self._changed = asyncio.Event()

    @property
    def speed(self) -> float:
        """Seconds of this clock per second of the world."""
        return self._speed

    @property
    def skew_s(self) -> float:
        """By how much the service is wrong when it looks at the date of a request."""
        return self._skew_s

    def now(self) -> datetime:
        """The service's time of day, in UTC; what is wrong with it shows in ``wall`` only."""
        return self._began + timedelta(seconds=self.passed_s())

    def wall(self) -> datetime:
        """The time of day that dates of requests are compared with: the world's, and the skew."""
        return datetime.now(UTC) + timedelta(seconds=self._skew_s)

    def passed_s(self) -> float:
        """Seconds on this clock since it was made; never goes back."""
        return self._passed_s + (time.monotonic() - self._since) * self._speed

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on. Raises ValueError unless it is greater than 0."""
        if speed <= 0:
            raise ValueError(f"the speed of a clock is greater than 0, not {speed:g}")
        self._move_on(0.0)
        self._speed = speed

    def set_skew(self, skew_s: float) -> None:
        """Be wrong by so many seconds."""
        self._skew_s = skew_s

    def advance(self, seconds: float) -> None:
        """Jump ahead; what is due by then happens at once. Raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError("the service's clock does not go back")
        self._move_on(seconds)

    async def sleep(self, delay_s: float) -> None:
        """Wait until ``delay_s`` seconds have passed on this clock."""
        due_s = self.passed_s() + delay_s
        while (left_s := due_s - self.passed_s()) > 0:
            changed = self._changed
            real_s = min(left_s / self._speed, _LONGEST_WAIT_S)
            try:
                async with asyncio.timeout(real_s):
                    await changed.wait()
            except TimeoutError:
                continue

    def _move_on(self, seconds: float) -> None:
        self._passed_s = self.passed_s() + seconds
        self._since = time.monotonic()
        self._changed.set()  # wakes whoever waits, to look at the clock again
        self._changed = asyncio.Event()
