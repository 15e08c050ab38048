"""Keeps alive what has an end of its own, for as long as the controller lives.

An abandoned run ends by itself: its Batch job by its wall clock, its tasks' access with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.elapsed import Since

#: How soon a step that failed is tried again.
AGAIN_S = 60.0
#: A wait stands still while the machine sleeps: how soon after that it is seen that the steps are due.
SLICE_S = 60.0


class Keeper:
    """Takes the steps every ``interval_s``, from its own thread. A step raises ServiceError where it cannot."""

    def __init__(
        self,
        interval_s: float,
        steps: Sequence[Callable[[], None]],
        say: Callable[[str], None],
        again_s: float = AGAIN_S,
    ) -> None:
        self._interval_s = interval_s
        self._again_s = min(again_s, interval_s)
        self._steps = steps
        self._say = say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="azurebatch-keep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Keep nothing alive any more. Does not wait for a request that is under way."""
        self._stopping.set()

    def _keep(self) -> None:
        pause_s = self._interval_s
        while not self._is_stopped_within(pause_s):
            taken = [self._taken(step) for step in self._steps]
            pause_s = self._interval_s if all(taken) else self._again_s

    def _is_stopped_within(self, pause_s: float) -> bool:
        began = Since.ago()
        while (left_s := pause_s - began.elapsed_s) > 0:
            if self._stopping.wait(min(left_s, SLICE_S)):
                return True
        return self._stopping.is_set()

    def _taken(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except ServiceError as error:
            if not self._stopping.is_set():
                self._say(f"Not done, trying again in {self._again_s:.0f} s: {error}")
            return False
        return True
