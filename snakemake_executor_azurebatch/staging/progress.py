"""Tells of transfers that take long: bytes, rate, time left. Silent for short ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: A direction is told of when it has been busy for this long, and again every so often.
PATIENCE_S = 5.0

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass
class Busy:
    """One direction from the moment that something moves until nothing does."""

    began_s: float
    told_s: float
    under_way: int = 0
    expected_bytes: int = 0
    moved_bytes: int = 0


class Progress:
    """Counts what moves in each direction ("Uploading", "Downloading"). Usable from any thread."""

    def __init__(
        self, say: Callable[[str], None], patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._patience_s = patience_s
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: dict[str, Busy] = {}

    @contextmanager
    def moving(self, direction: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Something of this size moves now; call what is yielded with the bytes of every piece that has moved."""
        with self._lock:
            now_s = self._clock()
            busy = self._busy.setdefault(direction, Busy(now_s, now_s))
            busy.under_way += 1
            busy.expected_bytes += size_bytes
        try:
            yield lambda piece_bytes: self._moved(direction, busy, piece_bytes)
        finally:
            with self._lock:
                busy.under_way -= 1
                if busy.under_way == 0:
                    self._busy.pop(direction, None)

    def _moved(self, direction: str, busy: Busy, piece_bytes: int) -> None:
        line = None
        with self._lock:
            busy.moved_bytes += piece_bytes
            now_s = self._clock()
            if now_s - busy.told_s >= self._patience_s:
                busy.told_s = now_s
                line = describe(direction, busy, now_s)
        if line:
            self._say(line)


def describe(direction: str, busy: Busy, now_s: float) -> str:
    """One line: ``Uploading: 1.5 GiB of 4.0 GiB, 120.0 MiB/s, about 21 s left``."""
    rate = busy.moved_bytes / max(now_s - busy.began_s, 1e-9)
    left_s = max(busy.expected_bytes - busy.moved_bytes, 0) / max(rate, 1e-9)
    return (
        f"{direction}: {amount(busy.moved_bytes)} of {amount(busy.expected_bytes)}, {amount(rate)}/s, "
        f"about {duration(left_s)} left"
    )


def amount(size_bytes: float) -> str:
    """A size as people read it: ``999 B``, ``1.5 GiB``."""
    for unit in _UNITS:
        if size_bytes < 1024 or unit == _UNITS[-1]:
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time as people read it: ``40 s``, ``12 min``, ``3 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
