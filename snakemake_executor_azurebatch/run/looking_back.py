"""Since when tasks are listed, so that none is missed that a listing shows late (pure).

A listing may lag behind the changes that it reports, so each one looks back beyond the newest that was seen: by a
little, since what is looked back at is listed once more each time. Tasks that are shown later than that would be missed
for good where others come meanwhile. So now and then one looks back beyond the newest that the last such look has seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta

#: How late a listing may show a task that the next one finds, and that is found in the end.
OVERLAP, FAR_OVERLAP = timedelta(seconds=5), timedelta(seconds=60)
FAR_EVERY_S = 120.0


class LookingBack:
    """Of one Batch job. Times of changes are the service's, ``now_s`` is of this machine's monotonic clock."""

    def __init__(self) -> None:
        self._newest: datetime | None = None
        self._far_newest: datetime | None = None  #: at the end of the last look that went far back
        self._far_s: float | None = None  #: when that began

    def since(self, now_s: float) -> datetime | None:
        """What the next listing begins with; None: with the first task."""
        if not self._is_far(now_s):
            return self._newest - OVERLAP if self._newest is not None else None
        return self._far_newest - FAR_OVERLAP if self._far_newest is not None else None

    def listed(self, began_s: float, newest: datetime | None) -> None:
        """The listing that began then has come to its end; ``newest``: the last change that it has shown."""
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest
        if self._is_far(began_s):
            self._far_s, self._far_newest = began_s, self._newest

    def _is_far(self, now_s: float) -> bool:
        return self._far_s is None or now_s - self._far_s >= FAR_EVERY_S
