"""What each run of a task took, as a line of the task log: memory and processor time are in no answer of Azure Batch.

``peak_memory_bytes`` is the largest sum of resident memory over the processes of the task, ``cpu_s`` their user and
system time; both are null where the run was too short to be looked at, or nothing ran.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome, TaskWork
from snakemake_executor_azurebatch.emulator.wire import Json


def entry(work: TaskWork, node_id: str, outcome: TaskOutcome) -> Json:
    """One line; ``kind`` is task, jobpreparation or jobrelease."""
    return {
        "job": work.job_id,
        "task": work.task_id,
        "kind": work.kind,
        "node": node_id,
        "exit_code": outcome.exit_code,
        "failure": outcome.failure.code if outcome.failure else None,
        "duration_s": round((outcome.end_time - outcome.start_time).total_seconds(), 3),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "cpu_s": outcome.cpu_s,
    }
