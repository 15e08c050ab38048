"""What happens to job schedules."""

from __future__ import annotations

from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.model import Schedule


@dataclass(frozen=True, slots=True)
class ScheduleAdded:
    """A job schedule was created."""

    schedule: Schedule


@dataclass(frozen=True, slots=True)
class ScheduleUpdated:
    """The times of a job schedule were changed."""

    schedule_key: str


@dataclass(frozen=True, slots=True)
class ScheduleDue:
    """Time to see whether the schedule is to make a job, or to end."""

    schedule_key: str


@dataclass(frozen=True, slots=True)
class ScheduleDisabled:
    """The schedule is to make no more jobs."""

    schedule_key: str


@dataclass(frozen=True, slots=True)
class ScheduleEnabled:
    """The schedule may make jobs again."""

    schedule_key: str


@dataclass(frozen=True, slots=True)
class ScheduleTerminated:
    """The schedule is to end, and its active job with it."""

    schedule_key: str
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    """The schedule is to go, with all its jobs."""

    schedule_key: str
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleSettled:
    """The schedule's transition was visible long enough."""

    schedule_key: str
