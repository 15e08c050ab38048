"""Reports that Snakemake's scheduler takes in one round.

Each report makes it go round once more, with an event loop of its own each time, though the first round takes all that
was reported by then: a semaphore counts the reports (seen with snakemake 9.23 and 9.27).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def one_round(scheduler: Any) -> Iterator[None]:  # noqa: ANN401 (nothing that mypy knows)
    """What is reported within, from any thread, makes ``scheduler`` (Snakemake's JobScheduler) go round once.

    Or more often, where it begins before the last report; so once in any case after that. Where a scheduler counts in
    another way, it goes round as it does; also where each round looks at some of the ready jobs only
    (--scheduler-subsample), since what that leaves free waits for the next one.
    """
    try:
        yield
    finally:
        reported = getattr(scheduler, "_open_jobs", None)
        if isinstance(reported, threading.Semaphore) and not getattr(scheduler, "subsample", None):
            while reported.acquire(blocking=False):
                pass
            reported.release()
