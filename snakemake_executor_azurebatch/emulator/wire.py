"""How values look on the wire: times, durations, ETags, URLs.

Assumed where no exchange was seen: times carry at most six fractional digits here (the service: seven).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]
#: Whatever JSON can hold.
JsonValue = Any

TICKS_PER_SECOND = 10_000_000
_TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)

#: "No limit": the largest duration of .NET (source: recorded exchange, stored job constraints).
UNLIMITED = "P10675199DT2H48M5.4775807S"
_UNLIMITED_TICKS = 2**63 - 1

_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<fraction>\d+))?S)?)?"
)
_UNITS = (
    ("weeks", 7 * _TICKS_PER_DAY),
    ("days", _TICKS_PER_DAY),
    ("hours", 3600 * TICKS_PER_SECOND),
    ("minutes", 60 * TICKS_PER_SECOND),
    ("seconds", TICKS_PER_SECOND),
)


def read_json(raw: bytes) -> JsonValue:
    """The value that these bytes hold. Raises ValueError, also for NaN and what is nested too deeply."""
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def time_text(moment: datetime) -> str:
    """ISO 8601 with trailing zeros of the fraction dropped and ``Z`` (source: recorded exchange)."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 or RFC 1123 time; one without an offset is UTC. Answers UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        moment = parsedate_to_datetime(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"out of range: {text!r}") from None


def http_date(moment: datetime) -> str:
    """RFC 1123, as headers carry it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def ticks(moment: datetime) -> int:
    """100-nanosecond steps since year 1, as .NET counts."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def etag_text(number: int) -> str:
    """An ETag as the service writes it, unquoted: ``0x8DDEBF51B7A575A`` (source: recorded exchange)."""
    return f"0x{number:X}"


def parse_duration(text: str) -> int:
    """Read an ISO 8601 duration of weeks, days and time; answers ticks. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match[name] for name, _ in _UNITS):
        raise ValueError(f"not a duration: {text!r}")
    total = sum(int(match[name] or 0) * size for name, size in _UNITS)
    total += int((match["fraction"] or "").ljust(7, "0")[:7])
    return min(-total if match["sign"] else total, _UNLIMITED_TICKS)


def duration_text(duration_ticks: int) -> str:
    """The normal form of a duration: ``PT06M00S`` comes back as ``PT6M`` (source: recorded exchange)."""
    sign, rest = ("-", -duration_ticks) if duration_ticks < 0 else ("", duration_ticks)
    days, rest = divmod(rest, _TICKS_PER_DAY)
    hours, rest = divmod(rest, 3600 * TICKS_PER_SECOND)
    minutes, rest = divmod(rest, 60 * TICKS_PER_SECOND)
    seconds, fraction = divmod(rest, TICKS_PER_SECOND)
    clock = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes)
    if fraction:
        clock += f"{seconds}.{fraction:07d}".rstrip("0") + "S"
    elif seconds or not (days or clock):
        clock += f"{seconds}S"
    return f"{sign}P" + f"{days}D" * bool(days) + (f"T{clock}" if clock else "")


def duration_s(text: str) -> float | None:
    """Seconds of a duration; None where it means "no limit". Raises ValueError."""
    found = parse_duration(text)
    return None if found >= _UNLIMITED_TICKS else found / TICKS_PER_SECOND


def pool_url(base: str, pool_id: str) -> str:
    """Absolute URL of a pool."""
    return f"{base}/pools/{pool_id}"


def node_url(base: str, pool_id: str, node_id: str) -> str:
    """Absolute URL of a node."""
    return f"{base}/pools/{pool_id}/nodes/{node_id}"


def job_url(base: str, job_id: str) -> str:
    """Absolute URL of a job."""
    return f"{base}/jobs/{job_id}"


def task_url(base: str, job_id: str, task_id: str) -> str:
    """Absolute URL of a task."""
    return f"{base}/jobs/{job_id}/tasks/{task_id}"


def file_url(owner_url: str, name: str) -> str:
    """Absolute URL of a file of a task or node; slashes stay (source: recorded exchange)."""
    return f"{owner_url}/files/{quote(name)}"
