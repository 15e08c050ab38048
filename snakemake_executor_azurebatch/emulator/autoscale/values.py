"""The values of the language: double, doubleVec, string, timestamp, timeinterval.

Assumed where the documentation is silent: times count in steps of 100 ns; Sunday is weekday 0; a
timeinterval is shown as ``[-][days.]hh:mm:ss[.fffffff]``. Published results show numbers with six
significant digits, vectors as ``[1,2]`` and timestamps in milliseconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from snakemake_executor_azurebatch.emulator.autoscale.errors import Fault

TICKS_PER_SECOND = 10_000_000
_TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_END_TICKS = 3_155_378_976_000_000_000  #: the start of year 10000
_MAX_INTERVAL_TICKS = 2**63 - 1

Vector: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A length of time."""

    ticks: int  #: of 100 ns; may be negative

    def __post_init__(self) -> None:
        if abs(self.ticks) > _MAX_INTERVAL_TICKS:
            raise Fault("The timeinterval is out of range")

    def scaled(self, factor: float) -> Interval:
        """The interval times a number."""
        return _interval(self.ticks * factor)

    def divided(self, divisor: float) -> Interval:
        """The interval over a number. Raises ``Fault`` for zero."""
        if divisor == 0:
            raise Fault("The timeinterval is out of range")
        return _interval(self.ticks / divisor)

    def __str__(self) -> str:
        days, rest = divmod(abs(self.ticks), _TICKS_PER_DAY)
        seconds, fraction = divmod(rest, TICKS_PER_SECOND)
        sign = "-" if self.ticks < 0 else ""
        return (
            f"{sign}{f'{days}.' if days else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            f"{f'.{fraction:07}' if fraction else ''}"
        )


def _interval(ticks: float) -> Interval:
    if not math.isfinite(ticks):
        raise Fault("The timeinterval is out of range")
    return Interval(round(ticks))


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in UTC."""

    ticks: int  #: of 100 ns since the start of year 1

    def __post_init__(self) -> None:
        if not 0 <= self.ticks < _END_TICKS:
            raise Fault("The timestamp is out of range")

    @classmethod
    def of(cls, moment: datetime) -> Timestamp:
        """From a datetime with a time zone."""
        return cls((moment - _BEGINNING) // timedelta(microseconds=1) * 10)

    def moved(self, by: Interval) -> Timestamp:
        """The moment that much later."""
        return Timestamp(self.ticks + by.ticks)

    def member(self, name: str) -> float:
        """One of ``names.TIMESTAMP_MEMBERS``."""
        moment = self._moment()
        return float(moment.isoweekday() % 7 if name == "weekday" else getattr(moment, name))

    def __str__(self) -> str:
        return f"{self._moment():%Y-%m-%dT%H:%M:%S}.{self.ticks % TICKS_PER_SECOND // 10_000:03}Z"

    def _moment(self) -> datetime:
        return _BEGINNING + timedelta(microseconds=self.ticks // 10)


Value: TypeAlias = float | Vector | str | Timestamp | Interval

_TYPE_NAMES: dict[type, str] = {
    float: "double",
    tuple: "doubleVec",
    str: "string",
    Timestamp: "timestamp",
    Interval: "timeinterval",
}


def type_name(value: Value) -> str:
    """What the documentation calls the value's type."""
    return _TYPE_NAMES[type(value)]


def shown(value: Value) -> str:
    """The value as the results of an evaluation show it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{','.join(f'{one:g}' for one in value)}]"
    return str(value)


_W3C = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)
_RFC_1123 = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) "
    r"(\d\d):(\d\d):(\d\d) GMT",
    re.ASCII,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_time(text: str) -> Timestamp:
    """A W3C-DTF or RFC 1123 time. Raises ``Fault`` for anything else.

    Nine decimals are refused, as users of the service reported; up to seven are taken, as the service itself
    writes them. A W3C-DTF time of day needs its time zone.
    """
    try:
        if found := _W3C.fullmatch(text):
            return _w3c(found)
        if found := _RFC_1123.fullmatch(text):
            day, month, year, hour, minute, second = found.groups()
            numbers = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
            return Timestamp.of(datetime(*numbers, tzinfo=UTC))
    except ValueError:
        pass  # the 31st of June and the like: the same answer as for any other text
    raise Fault(f"Invalid time: {text}")


def _w3c(found: re.Match[str]) -> Timestamp:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    numbers = (int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))
    start = Timestamp.of(datetime(*numbers, tzinfo=UTC))
    return Timestamp(start.ticks + int((fraction or "0").ljust(7, "0")) - _zone_ticks(zone))


def _zone_ticks(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    ticks = (hours * 60 + minutes) * 60 * TICKS_PER_SECOND
    return -ticks if zone[0] == "-" else ticks
