"""Which tasks wait for which others (pure).

Rules (source: public documentation of task dependencies): a task waits for every id of ``taskIds`` and for
every whole number of ``taskIdRanges``; ids need not exist yet; in ranges ``04`` counts as 4, and the first
of them to complete satisfies; ids that are no numbers are in no range.

Assumed: a task that was deleted or reactivated satisfies nobody any more who still waits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from snakemake_executor_azurebatch.emulator.wire import Json


@dataclass(slots=True)
class Dependencies:
    """Of one job: who has satisfied its dependents, and who still waits for whom. Keys are lower-case ids."""

    satisfied: set[str] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)  #: of satisfied ids, sorted, with repetitions
    waiting: dict[str, Json] = field(default_factory=dict)  #: dependsOn of the tasks that wait
    by_id: dict[str, dict[str, None]] = field(default_factory=dict)  #: who names this id
    by_range: dict[str, None] = field(default_factory=dict)  #: who has ranges

    def wait(self, key: str, depends_on: Json | None) -> bool:
        """Note what a new task waits for. True: nothing, it is ready."""
        if not depends_on or self._is_ready(depends_on):
            return True
        self.waiting[key] = depends_on
        for name in _ids(depends_on):
            self.by_id.setdefault(name, {})[key] = None
        if depends_on.get("taskIdRanges"):
            self.by_range[key] = None
        return False

    def satisfy(self, key: str) -> list[str]:
        """A task completed so that its dependents may start. Answers those that wait for nothing more."""
        if key in self.satisfied:
            return []
        self.satisfied.add(key)
        number = _number(key)
        if number is not None:
            insort(self.numbers, number)
        candidates = dict(self.by_id.get(key, {}))
        if number is not None:
            candidates.update({other: None for other in self.by_range if self._has_range_of(other, number)})
        ready = [other for other in candidates if self._is_ready(self.waiting[other])]
        for other in ready:
            self.leave(other)
        return ready

    def forget(self, key: str) -> None:
        """A task was deleted or is to run again."""
        self.leave(key)
        if key in self.satisfied:
            self.satisfied.remove(key)
            number = _number(key)
            if number is not None:
                del self.numbers[bisect_left(self.numbers, number)]

    def leave(self, key: str) -> None:
        """A task waits no longer."""
        depends_on = self.waiting.pop(key, None)
        for name in _ids(depends_on or {}):
            waiters = self.by_id[name]
            waiters.pop(key, None)
            if not waiters:
                del self.by_id[name]
        self.by_range.pop(key, None)

    def _has_range_of(self, key: str, number: int) -> bool:
        return any(entry["start"] <= number <= entry["end"] for entry in self.waiting[key]["taskIdRanges"])

    def _is_ready(self, depends_on: Json) -> bool:
        return all(name in self.satisfied for name in _ids(depends_on)) and all(
            self._is_complete(entry["start"], entry["end"]) for entry in depends_on.get("taskIdRanges") or ()
        )

    def _is_complete(self, start: int, end: int) -> bool:
        there = self.numbers[bisect_left(self.numbers, start) : bisect_right(self.numbers, end)]
        return len(there) > end - start and len(set(there)) == end - start + 1


def _ids(depends_on: Json) -> Iterator[str]:
    """Without repetitions, in lower case."""
    return iter(dict.fromkeys(name.lower() for name in depends_on.get("taskIds") or ()))


def _number(key: str) -> int | None:
    return int(key) if key.isascii() and key.isdigit() else None
