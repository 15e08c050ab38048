"""Wakes a thread that sleeps in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Waker:
    """Ends the sleep of Snakemake's waiting thread, from any thread.

    The sleep is the event loop's own: a blocked helper thread would hold up the end of the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asleep: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._pending = False

    def wake(self) -> None:
        """End the sleep under way, or else the next one at once."""
        with self._lock:
            if self._asleep is None:
                self._pending = True
            else:
                loop, event = self._asleep
                loop.call_soon_threadsafe(event.set)

    async def wait(self, limit_s: float) -> None:
        """Sleep until woken, ``limit_s`` at the longest."""
        event = asyncio.Event()
        with self._lock:
            if self._pending:
                event.set()
            self._pending = False
            self._asleep = (asyncio.get_running_loop(), event)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), limit_s)
        with self._lock:
            self._asleep = None
