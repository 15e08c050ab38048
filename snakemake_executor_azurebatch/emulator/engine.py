"""The service's behaviour, pure: events in, instructions out; no I/O, no clock of its own.

Pools and nodes are in ``engine_pools`` and ``engine_nodes``, jobs in ``engine_jobs``, tasks in ``engine_tasks``, job
schedules in ``engine_schedules``; this class puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from snakemake_executor_azurebatch.emulator import (
    engine_autoscale,
    engine_jobs,
    engine_nodes,
    engine_pools,
    engine_schedules,
    engine_tasks,
    events,
)
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.events import Event
from snakemake_executor_azurebatch.emulator.instructions import Instruction
from snakemake_executor_azurebatch.emulator.state import State

_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    events.PoolAdded: engine_pools.pool_added,
    events.PoolResized: engine_pools.pool_resized,
    events.PoolDeleted: engine_pools.pool_deleted,
    events.PoolSettled: engine_pools.pool_settled,
    events.PoolResizeStopped: engine_pools.pool_resize_stopped,
    events.PoolStopSettled: engine_pools.pool_stop_settled,
    events.PoolResizeTimedOut: engine_pools.pool_resize_timed_out,
    events.AllocationFaultSet: engine_pools.allocation_fault_set,
    events.NodesRemoved: engine_pools.nodes_removed,
    events.NodeGone: engine_pools.node_gone,
    events.NodeStarting: engine_nodes.node_starting,
    events.NodeReady: engine_nodes.node_ready,
    events.StartTaskEnded: engine_nodes.start_task_ended,
    events.NodeRestarted: engine_nodes.node_restarted,
    events.NodeStopped: engine_nodes.node_stopped,
    events.NodeStarted: engine_nodes.node_started,
    events.NodeSchedulingSet: engine_nodes.node_scheduling_set,
    events.NodePreempted: engine_nodes.node_preempted,
    events.NodeLost: engine_nodes.node_lost,
    events.NodeReplaced: engine_nodes.node_replaced,
    events.NodeUnusable: engine_nodes.node_unusable,
    events.AutoScaleSet: engine_autoscale.autoscale_set,
    events.AutoScaleSampleDue: engine_autoscale.autoscale_sample_due,
    events.AutoScaleDue: engine_autoscale.autoscale_due,
    events.JobAdded: engine_jobs.job_added,
    events.JobUpdated: engine_jobs.job_updated,
    events.JobDisabled: engine_jobs.job_disabled,
    events.JobEnabled: engine_jobs.job_enabled,
    events.JobMoved: engine_jobs.job_moved,
    events.JobTerminated: engine_jobs.job_terminated,
    events.JobDeleted: engine_jobs.job_deleted,
    events.JobSettled: engine_jobs.job_settled,
    events.JobFilesRemoved: engine_jobs.job_files_removed,
    events.JobTimeUp: engine_jobs.job_time_up,
    events.JobAllCompleteDue: engine_jobs.job_all_complete_due,
    events.TasksAdded: engine_tasks.tasks_added,
    events.TaskTerminated: engine_tasks.task_terminated,
    events.TaskDeleted: engine_tasks.task_deleted,
    events.TaskReactivated: engine_tasks.task_reactivated,
    events.RunEnded: engine_tasks.run_ended,
    events.FilesDue: engine_tasks.files_due,
    events.ScheduleAdded: engine_schedules.schedule_added,
    events.ScheduleUpdated: engine_schedules.schedule_updated,
    events.ScheduleDue: engine_schedules.schedule_due,
    events.ScheduleDisabled: engine_schedules.schedule_disabled,
    events.ScheduleEnabled: engine_schedules.schedule_enabled,
    events.ScheduleTerminated: engine_schedules.schedule_terminated,
    events.ScheduleDeleted: engine_schedules.schedule_deleted,
    events.ScheduleSettled: engine_schedules.schedule_settled,
}


class Engine:
    """Applies events to the state, one at a time, and says what is to be done."""

    def __init__(self, state: State) -> None:
        self.state = state

    def handle(self, event: Event, now: datetime) -> list[Instruction]:
        """Apply one event that happens at ``now``. Events about things that are gone are ignored."""
        turn = Turn(self.state, now)
        _HANDLERS[type(event)](turn, event)
        return turn.out
