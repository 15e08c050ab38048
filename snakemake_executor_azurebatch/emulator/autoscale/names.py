"""The names that the service defines.

Assumed where the documentation is silent: names are case-sensitive, and ``$x`` and ``x`` are two variables.
The resource metrics were retired by the service; here they are known, so that an old formula is not refused,
and never have a sample, so that asking for them fails as too few samples do.
"""

from __future__ import annotations

METRICS = (
    "$ActiveTasks",
    "$RunningTasks",
    "$PendingTasks",
    "$SucceededTasks",
    "$FailedTasks",
    "$CurrentDedicatedNodes",
    "$CurrentLowPriorityNodes",
    "$PreemptedNodeCount",
    "$SampleNodeCount",
    "$TaskSlotsPerNode",
    "$UsableNodeCount",
)
RETIRED_METRICS = (
    "$CPUPercent",
    "$WallClockSeconds",
    "$MemoryBytes",
    "$DiskBytes",
    "$DiskReadBytes",
    "$DiskWriteBytes",
    "$DiskReadOps",
    "$DiskWriteOps",
    "$NetworkInBytes",
    "$NetworkOutBytes",
)
_METRIC_ALIASES = {"$CurrentDedicated": "$CurrentDedicatedNodes"}
_METRIC_NAMES = {**{name: name for name in METRICS + RETIRED_METRICS}, **_METRIC_ALIASES}

DEDICATED = "$TargetDedicatedNodes"
LOW_PRIORITY = "$TargetLowPriorityNodes"
OPTION = "$NodeDeallocationOption"
#: Each target with its older name. A value given to the full name wins.
TARGET_ALIASES = {DEDICATED: "$TargetDedicated", LOW_PRIORITY: "$TargetLowPriority"}
TARGETS = {name: full for full, alias in TARGET_ALIASES.items() for name in (full, alias)}

#: What may be done with the tasks of a node that goes. They are words of the language, not strings.
DEALLOCATION_OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")

_TICKS_PER_SECOND = 10_000_000
#: In ticks of 100 ns. A year is taken as 365 days.
INTERVALS = {
    "TimeInterval_Zero": 0,
    "TimeInterval_100ns": 1,
    "TimeInterval_Microsecond": 10,
    "TimeInterval_Millisecond": 10_000,
    "TimeInterval_Second": _TICKS_PER_SECOND,
    "TimeInterval_Minute": 60 * _TICKS_PER_SECOND,
    "TimeInterval_Hour": 3_600 * _TICKS_PER_SECOND,
    "TimeInterval_Day": 86_400 * _TICKS_PER_SECOND,
    "TimeInterval_Week": 7 * 86_400 * _TICKS_PER_SECOND,
    "TimeInterval_Year": 365 * 86_400 * _TICKS_PER_SECOND,
}

TIMESTAMP_MEMBERS = ("year", "month", "day", "weekday", "hour", "minute", "second")


def metric(name: str) -> str | None:
    """The metric's full name; None for what is no metric."""
    return _METRIC_NAMES.get(name)


def is_read_write(name: str) -> bool:
    """Whether the service defines the variable and a formula may set it."""
    return name in TARGETS or name == OPTION


def is_fixed(name: str) -> bool:
    """Whether the name stands for something that no formula may set."""
    return metric(name) is not None or name in INTERVALS or name in DEALLOCATION_OPTIONS
