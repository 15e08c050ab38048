"""A Batch account may have only so many active jobs: one more is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.patience import LONGEST_PAUSE_S, shown_s

#: source: Azure Batch REST reference, error codes
QUOTA_REACHED = "ActiveJobAndScheduleQuotaReached"
FIRST_PAUSE_S = 2.0

#: Only active Batch jobs count, and ``snakemake-azurebatch cleanup`` ends none: a run may go on with them.
HELP = (
    "Those of runs that were killed end when snakemake runs in their folders again, and else by their time limit. "
    "'az batch job list --filter \"state eq 'active'\"' shows all, 'az batch job stop' ends one; a higher quota can be "
    "asked for in the Azure portal."
)


def when_there_is_room(
    create: Callable[[], None],
    say: Callable[[str], None],
    limit_s: float,
    stopping: threading.Event | None = None,
    first_pause_s: float = FIRST_PAUSE_S,
) -> None:
    """Create a Batch job, and wait where the account has as many as it may have: told once, up to ``limit_s``.

    Raises what ``create`` raises otherwise, and its ServiceError when the time is over or ``stopping`` is set.
    """
    stopping = stopping or threading.Event()
    began_s, pause_s, is_told = time.monotonic(), first_pause_s, False
    while True:
        try:
            create()
        except ServiceError as error:
            left_s = began_s + limit_s - time.monotonic()
            if error.code != QUOTA_REACHED or left_s <= 0:
                raise
            if not is_told:
                is_told = True
                say(
                    f"{error}\nWaiting until another Batch job of the account ends, for {shown_s(limit_s)} at most. "
                    f"{HELP}"
                )
            if stopping.wait(min(pause_s, left_s)):
                raise
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        else:
            if is_told:
                say(f"There was room for the Batch job after {shown_s(time.monotonic() - began_s)}.")
            return
