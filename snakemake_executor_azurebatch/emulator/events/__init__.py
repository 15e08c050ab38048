"""What happens: the engine's input. What is to be done about it are ``instructions``."""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator.events.jobs import (
    FilesDue,
    JobAdded,
    JobAllCompleteDue,
    JobDeleted,
    JobDisabled,
    JobEnabled,
    JobFilesRemoved,
    JobMoved,
    JobSettled,
    JobTerminated,
    JobTimeUp,
    JobUpdated,
    RunEnded,
    TaskDeleted,
    TaskReactivated,
    TasksAdded,
    TaskTerminated,
)
from snakemake_executor_azurebatch.emulator.events.pools import (
    AllocationFaultSet,
    AutoScaleDue,
    AutoScaleSampleDue,
    AutoScaleSet,
    NodeGone,
    NodeLost,
    NodePreempted,
    NodeReady,
    NodeReplaced,
    NodeRestarted,
    NodeSchedulingSet,
    NodesRemoved,
    NodeStarted,
    NodeStarting,
    NodeStopped,
    NodeUnusable,
    PoolAdded,
    PoolDeleted,
    PoolResized,
    PoolResizeStopped,
    PoolResizeTimedOut,
    PoolSettled,
    PoolStopSettled,
    StartTaskEnded,
)
from snakemake_executor_azurebatch.emulator.events.schedules import (
    ScheduleAdded,
    ScheduleDeleted,
    ScheduleDisabled,
    ScheduleDue,
    ScheduleEnabled,
    ScheduleSettled,
    ScheduleTerminated,
    ScheduleUpdated,
)

Event = (
    PoolAdded | PoolResized | PoolDeleted | PoolSettled | PoolResizeStopped | PoolStopSettled | PoolResizeTimedOut
    | AllocationFaultSet | AutoScaleSet | AutoScaleSampleDue | AutoScaleDue
    | NodesRemoved | NodeStarting | NodeReady | NodeGone | StartTaskEnded | NodeRestarted | NodeStopped | NodeStarted
    | NodeSchedulingSet | NodePreempted | NodeLost | NodeReplaced | NodeUnusable
    | JobAdded | JobUpdated | JobTerminated | JobDeleted | JobSettled | JobFilesRemoved | JobTimeUp
    | JobAllCompleteDue | TasksAdded | TaskTerminated | TaskDeleted | RunEnded
    | JobDisabled | JobEnabled | JobMoved | TaskReactivated | FilesDue
    | ScheduleAdded | ScheduleUpdated | ScheduleDue | ScheduleDisabled | ScheduleEnabled | ScheduleTerminated
    | ScheduleDeleted | ScheduleSettled
)  # fmt: skip

__all__ = [
    "AllocationFaultSet",
    "AutoScaleDue",
    "AutoScaleSampleDue",
    "AutoScaleSet",
    "Event",
    "FilesDue",
    "JobAdded",
    "JobAllCompleteDue",
    "JobDeleted",
    "JobDisabled",
    "JobEnabled",
    "JobFilesRemoved",
    "JobMoved",
    "JobSettled",
    "JobTerminated",
    "JobTimeUp",
    "JobUpdated",
    "NodeGone",
    "NodeLost",
    "NodePreempted",
    "NodeReady",
    "NodeReplaced",
    "NodeRestarted",
    "NodeSchedulingSet",
    "NodeStarted",
    "NodeStarting",
    "NodeStopped",
    "NodeUnusable",
    "NodesRemoved",
    "PoolAdded",
    "PoolDeleted",
    "PoolResizeStopped",
    "PoolResizeTimedOut",
    "PoolResized",
    "PoolSettled",
    "PoolStopSettled",
    "RunEnded",
    "ScheduleAdded",
    "ScheduleDeleted",
    "ScheduleDisabled",
    "ScheduleDue",
    "ScheduleEnabled",
    "ScheduleSettled",
    "ScheduleTerminated",
    "ScheduleUpdated",
    "StartTaskEnded",
    "TaskDeleted",
    "TaskReactivated",
    "TaskTerminated",
    "TasksAdded",
]
