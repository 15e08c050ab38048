"""``--azurebatch-detach``: ends Snakemake in an orderly manner when all that is ready has been submitted.

Snakemake knows no such end. What comes nearest is an error of the executor: the scheduler then shuts the executor
down without cancelling anything, keeps the marks of unfinished outputs, and the lock is released. It ends with
status 1 and says that not all jobs are done, which is so; ``onerror`` is left out, since nothing has failed
(seen with snakemake 9.27.1).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError, ServiceError

#: Snakemake's Workflow: nothing that mypy knows.
Workflow = Any

LOOK_EVERY_S = 0.5
#: Where Azure refuses what leaving takes.
LONGEST_PAUSE_S = 30.0
#: Jobs that Snakemake does not hand over for so long are held back by its own limits (``--jobs``, resources).
HELD_BACK_AFTER_S = 5.0


class Detached(AzureBatchError):
    """The run was left; what the user is told."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the executor."""

    handed_over_s: Callable[[], float]  #: time.monotonic of the last jobs
    active: Callable[[], set[Any]]  #: jobs of Snakemake that were submitted and are not reported
    is_sent: Callable[[], bool]  #: whether all of them have been submitted
    leave: Callable[[], float | None]  #: stop reporting; for how many seconds the tasks go on; None: not just now


class Detacher:
    """Waits, from its own thread, until everything that is ready has been submitted, and then ends Snakemake."""

    def __init__(self, workflow: Workflow, asked: Asked, say: Callable[[str], None]) -> None:
        self._workflow = workflow
        self._asked = asked
        self._say = say
        self._stopping = threading.Event()
        threading.Thread(target=self._wait, name="azurebatch-detach", daemon=True).start()

    def stop(self) -> None:
        """The run ends by itself."""
        self._stopping.set()

    def _wait(self) -> None:
        pause_s, told = LOOK_EVERY_S, ""
        while not self._stopping.wait(pause_s):
            if not self._is_quiet():
                continue
            try:
                goes_on_s, pause_s = self._asked.leave(), LOOK_EVERY_S
            except ServiceError as error:
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                if (text := f"Cannot leave yet, trying again: {error}") != told:
                    self._say(text)
                    told = text
                continue
            if goes_on_s is not None:
                self._end(goes_on_s)
                return

    def _is_quiet(self) -> bool:
        """Whether nothing but tasks is under way: no local job, nothing that Snakemake could still hand over."""
        scheduler, active = self._workflow.scheduler, self._asked.active()
        if not active or not self._asked.is_sent() or not set(scheduler.running) <= active:
            return False
        return not scheduler.open_jobs or time.monotonic() - self._asked.handed_over_s() > HELD_BACK_AFTER_S

    def _end(self, goes_on_s: float) -> None:
        count, scheduler = len(self._asked.active()), self._workflow.scheduler
        tasks = "1 task goes" if count == 1 else f"{count} tasks go"
        told = (
            f"Detached: {tasks} on without snakemake, for {goes_on_s / 3600:.0f} hours at most. Give the same command "
            "again, with or without --azurebatch-detach, to take what is finished and to go on with the rest."
        )
        self._workflow.execution_settings.no_hooks = True
        scheduler._user_kill = "detached"  # noqa: SLF001 (else it would say that a job has failed)
        scheduler.executor_error_callback(Detached(told))
