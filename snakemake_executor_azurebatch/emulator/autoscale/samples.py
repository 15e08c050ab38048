"""The samples of a pool's metrics, and how a formula gets at them.

The service takes one sample every 30 s, and a formula sees it later (source: documentation). Documented is a
delay of about a minute; published results have 29 of the 30 samples of a quarter of an hour. Here a sample is
readable 30 s after it was taken, so that a change is seen 30 to 60 s after it happened.

``GetSample`` over a time fails below the percentage asked for. Where none is given the service wants 70 %: that
is not documented, but its published errors say so. Assumed where all sources are silent: the two ends of a time
may come in either order, the older one excluded; values come oldest first; so many samples are possible as whole
periods fit into the time, at least one; ``GetSample(count)`` gives what there is, and one 0 where there is
nothing (a published formula reads such a value on a new pool); 24 hours are kept.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from snakemake_executor_azurebatch.emulator.autoscale.errors import Fault, InsufficientSamples
from snakemake_executor_azurebatch.emulator.autoscale.names import METRICS
from snakemake_executor_azurebatch.emulator.autoscale.values import (
    TICKS_PER_SECOND,
    Interval,
    Timestamp,
    Value,
    Vector,
    type_name,
)

SAMPLE_PERIOD = timedelta(seconds=30)
SAMPLE_DELAY = timedelta(seconds=30)
HISTORY_SAMPLES = 2880
DEFAULT_PERCENT = 70.0

_PERIOD_TICKS = SAMPLE_PERIOD // timedelta(seconds=1) * TICKS_PER_SECOND
_INDEX = {name: index for index, name in enumerate(METRICS)}
#: When it was taken, in ticks, and a value per metric in the order of ``METRICS``; None where there is none.
_Row = tuple[int, tuple[float | None, ...]]


class SampleStore:
    """The samples of one pool. Its memory is bounded: the oldest go first."""

    def __init__(self, *, delay: timedelta = SAMPLE_DELAY, capacity: int = HISTORY_SAMPLES) -> None:
        self._delay_ticks = delay // timedelta(microseconds=1) * 10
        self._rows: deque[_Row] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._rows)

    def due(self, now: datetime) -> bool:
        """Whether it is time for the next sample."""
        return not self._rows or Timestamp.of(now).ticks - self._rows[-1][0] >= _PERIOD_TICKS

    def record(self, at: datetime, values: Mapping[str, float]) -> None:
        """Keep one sample per metric named, taken at this time.

        ``$PendingTasks`` is the sum of active and running tasks unless it is given. Raises ``ValueError`` for a
        name that is no metric, and for a time that is not after the latest one.
        """
        if unknown := values.keys() - _INDEX.keys():
            raise ValueError(f"no metric: {', '.join(sorted(unknown))}")
        ticks = Timestamp.of(at).ticks
        if self._rows and ticks <= self._rows[-1][0]:
            raise ValueError("samples must come in the order of time")
        if {"$ActiveTasks", "$RunningTasks"} <= values.keys():
            values = {"$PendingTasks": values["$ActiveTasks"] + values["$RunningTasks"], **values}
        self._rows.append((ticks, tuple(_number(values.get(name)) for name in METRICS)))

    def to_plain(self) -> list[list[float | int | None]]:
        """The samples as lists of numbers, for a file. Undone by ``from_plain``."""
        return [[ticks, *row] for ticks, row in self._rows]

    @classmethod
    def from_plain(
        cls, rows: Iterable[Sequence[float | int | None]], *, delay: timedelta = SAMPLE_DELAY
    ) -> SampleStore:
        """A store with what ``to_plain`` gave. Raises ``ValueError`` for anything else."""
        store = cls(delay=delay)
        for ticks, *row in rows:
            if ticks is None or len(row) != len(METRICS):
                raise ValueError("not a row of samples")
            store._rows.append((int(ticks), tuple(_number(value) for value in row)))
        return store

    def series(self, metric: str, now: Timestamp) -> Series:
        """What a formula can see of a metric at this time. Metrics that are never sampled are empty."""
        index = _INDEX.get(metric)
        if index is None:
            return Series(metric, now, ())
        readable = now.ticks - self._delay_ticks
        points = ((at, row[index]) for at, row in self._rows if at <= readable)
        return Series(metric, now, tuple((at, value) for at, value in points if value is not None))


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Series:
    """The readable samples of one metric at one time, oldest first."""

    metric: str
    now: Timestamp
    points: tuple[tuple[int, float], ...]  #: ticks and value

    @property
    def latest(self) -> float:
        """The newest value; 0 where there is none."""
        return self.points[-1][1] if self.points else 0.0

    def newest(self, count: float) -> Vector:
        """``GetSample(count)``. Raises ``Fault`` for a count below 0."""
        if not count >= 0:
            raise Fault(f"Invalid number of samples: {count:g}")
        if not self.points:
            return (0.0,)
        wanted = len(self.points) if math.isinf(count) else min(math.trunc(count), len(self.points))
        return tuple(value for _, value in self.points[len(self.points) - wanted :])

    def within(self, start: Timestamp, end: Timestamp, wanted_percent: float) -> Vector:
        """``GetSample`` over a time. Raises ``InsufficientSamples``."""
        received = self.percent(start, end)
        if not received >= wanted_percent:
            wanted = f"wanted {wanted_percent:g}%, received {received:g}%"
            raise InsufficientSamples(f"Insufficient data from data set: {self.metric} {wanted}")
        return self._between(start, end)

    def percent(self, start: Timestamp, end: Timestamp) -> float:
        """``GetSamplePercent``, from 0 to 100."""
        possible = max(1, abs(start.ticks - end.ticks) // _PERIOD_TICKS)
        return min(100.0, 100.0 * len(self._between(start, end)) / possible)

    def begin(self) -> Timestamp:
        """``HistoryBeginTime``. Raises ``Fault`` where there is no sample."""
        if not self.points:
            raise Fault(f"There are no samples of {self.metric}")
        return Timestamp(self.points[0][0])

    def _between(self, start: Timestamp, end: Timestamp) -> Vector:
        older, newer = sorted((start.ticks, end.ticks))
        return tuple(value for at, value in self.points if older < at <= newer)


_COUNTS = {
    "GetSample": (1, 3),
    "GetSamplePercent": (1, 2),
    "GetSamplePeriod": (0, 0),
    "Count": (0, 0),
    "HistoryBeginTime": (0, 0),
}


def check_method(name: str, count: int) -> None:
    """Raises ``Fault`` for a method that does not exist or that does not take so many arguments."""
    if name not in _COUNTS:
        raise Fault(f"Undefined symbol: {name}")
    low, high = _COUNTS[name]
    if not low <= count <= high:
        raise Fault(f"Method {name} does not take {count} arguments")


def call_method(series: Series, name: str, arguments: Sequence[Value]) -> Value:
    """A method of a metric. Raises ``Fault``."""
    check_method(name, len(arguments))
    if name == "GetSample":
        return _get_sample(series, arguments)
    if name == "GetSamplePercent":
        return series.percent(*_ends(series, name, arguments))
    if name == "GetSamplePeriod":
        return Interval(_PERIOD_TICKS)
    return float(len(series.points)) if name == "Count" else series.begin()


def _get_sample(series: Series, arguments: Sequence[Value]) -> Value:
    first, last = arguments[0], arguments[-1]
    if len(arguments) == 1 and isinstance(first, float):
        return series.newest(first)
    if len(arguments) > 1 and isinstance(last, float):
        return series.within(*_ends(series, "GetSample", arguments[:-1]), last)
    return series.within(*_ends(series, "GetSample", arguments), DEFAULT_PERCENT)


def _ends(series: Series, name: str, arguments: Sequence[Value]) -> tuple[Timestamp, Timestamp]:
    moments = [_moment(series.now, one) for one in arguments]
    ends = [one for one in moments if one is not None]
    if len(ends) < len(moments) or len(ends) > 2:
        raise Fault(f"Method {name} does not take {', '.join(map(type_name, arguments))}")
    return ends[0], ends[-1] if len(ends) > 1 else series.now


def _moment(now: Timestamp, given: Value) -> Timestamp | None:
    if isinstance(given, Interval):
        return now.moved(Interval(-given.ticks))
    return given if isinstance(given, Timestamp) else None
