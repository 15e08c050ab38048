"""What the stager says on standard error, and how long its phases took."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import Dict, Iterator


def say(text: str) -> None:
    """Write one line to standard error. Never hand it a URL: it may hold a SAS."""
    sys.stderr.write("[stage] %s\n" % text)
    sys.stderr.flush()


def amount(size_bytes: int) -> str:
    """A size for people: ``17 B``, ``1.5 MiB``."""
    if size_bytes < 1024:
        return "%d B" % size_bytes
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return "%.1f %s" % (size, unit)
    return "%.1f TiB" % (size / 1024)


class Timings:
    """Seconds spent in each phase, also in one that failed."""

    def __init__(self) -> None:
        self.seconds: Dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the time of the block to ``phase``."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.monotonic() - start, 3)
