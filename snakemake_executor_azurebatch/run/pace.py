"""How often to look at the tasks, and whether a listing is worth its while (pure)."""

from __future__ import annotations

from dataclasses import dataclass

#: Counts may be out of date (source: Azure Batch REST reference, "Get Task Counts"): after so many looks at them alone
#: the tasks are listed in any case.
LIST_ANYHOW = 3
#: Where nothing can finish: each pause is so many times the last one, and this many intervals at most.
LONGER, LONGEST = 1.5, 3
#: When there is something to watch again, the first look comes after this part of the interval, the second after
#: twice as long, and so on: a short task that others wait for is not to wait for a whole interval.
FIRST_LOOK = 1 / 8


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks a Batch job has in each state."""

    active: int
    running: int
    completed: int


class Pace:
    """While tasks finish they are listed every ``interval_s``; in quiet times their counts are looked at first."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._completed: int | None = None
        self._spared = 0
        self._usual_s = self.pause_s = interval_s * FIRST_LOOK  #: until the next look
        self.is_quiet = False  #: whether to ask for the counts before a listing

    def begun(self) -> None:
        """There is something to watch again."""
        self._usual_s = self._interval_s * FIRST_LOOK

    def disturbed(self) -> None:
        """Tasks were added or removed: no number means what it has meant before."""
        self._completed = None
        self.pause_s = self._usual_s

    def wants_listing(self, counts: Counts) -> bool:
        """Whether something may be seen that was not seen before."""
        can_finish = counts.running > 0
        self._looked()
        self.pause_s = self._usual_s if can_finish else min(self.pause_s * LONGER, LONGEST * self._interval_s)
        is_new = counts.completed != self._completed
        self._completed = counts.completed
        if is_new or self._spared >= LIST_ANYHOW:
            self._spared = 0
            return True
        self._spared += 1
        return False

    def listed(self, found: int) -> None:
        """A listing has shown so many completions."""
        if not self.is_quiet:  # else the counts were looked at before
            self._looked()
        self.is_quiet = not found
        self.pause_s = self._usual_s if found else max(self._usual_s, self.pause_s)

    def _looked(self) -> None:
        self._usual_s = min(self._interval_s, 2 * self._usual_s)
