"""Jobs whose end Snakemake has taken, noted in the ledger many at a time: a transaction for each would be dear.

Until then a killed run leaves them as it would if it had died a moment earlier, before Snakemake took their end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.run.ledger import DONE, FAILED, Ledger

#: So long a job waits for others.
GATHER_S = 0.5


class Settled:
    """Takes jobs from any thread."""

    def __init__(self, ledger: Ledger, gather_s: float = GATHER_S) -> None:
        self._ledger = ledger
        self._gather_s = gather_s
        self._gathered: list[tuple[str, bool]] = []
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._pool = DaemonPool(1, "azurebatch-settle")

    def add(self, key: str, *, is_done: bool) -> None:
        """No later run is to look for this job's task. Returns at once; once this is closed, it does nothing."""
        with self._lock:
            if self._is_closed.is_set():
                return
            self._gathered.append((key, is_done))
            if len(self._gathered) == 1:
                self._pool.submit(self._note_soon)

    def close(self) -> None:
        """Note what has come by now."""
        with self._lock:
            self._is_closed.set()
        self._pool.shutdown()
        self._note()  # where a Ctrl-C has come between a job and the call for it

    def _note_soon(self) -> None:
        self._is_closed.wait(self._gather_s)
        self._note()

    def _note(self) -> None:
        with self._lock:
            some, self._gathered = self._gathered, []
        for state, keys in ((DONE, _of(some, is_done=True)), (FAILED, _of(some, is_done=False))):
            if keys:
                self._ledger.ended(keys, state)


def _of(some: Iterable[tuple[str, bool]], *, is_done: bool) -> list[str]:
    return [key for key, was_done in some if was_done is is_done]
