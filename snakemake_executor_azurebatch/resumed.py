"""What Snakemake knows of a job that an earlier run may have left, read in the scheduler's thread only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.jobs import Job, members

#: Snakemake's Workflow: nothing that mypy knows.
Workflow = Any


def cut_off(job: Job, workflow: Workflow) -> Callable[[str], bool]:
    """Tells whether Snakemake has not taken the end of a task that was started for ``job``. To be asked before the
    next one is reported; most jobs have no such task, and nothing is read for them.

    It marks the outputs of a job with the task's id until it has. The mark alone does not say it: a database of
    Snakemake's keeps it for ever, and a power failure may have lost it. But a job that is to run again although all
    its outputs are there without a mark was taken, and somebody wants it to run. Not ``dag.incomplete_external_jobid``:
    that gives nothing under ``--rerun-incomplete`` and fails for several marks (seen with snakemake 9.27.1).
    """

    def is_cut_off(task_id: str) -> bool:
        outputs = list(job.output)
        is_whole = bool(outputs) and all(Path(f).exists() for f in outputs)
        return not is_whole or task_id in set(workflow.persistence.external_jobids(job))

    return is_cut_off


def versions_of(job: Job, workflow: Workflow) -> list[str]:
    """Time and size of each input in a storage provider; something that never was where they are not known."""
    jobs = members(job)
    made = {str(f) for one in jobs for f in one.output}
    stored = {str(f): f for one in jobs for f in one.input if getattr(f, "is_storage", False) and str(f) not in made}

    async def look() -> list[str]:
        return [f"{name} {await f.mtime()} {await f.size()}" for name, f in sorted(stored.items())]

    if not stored:
        return []
    try:
        return list(workflow.async_run(look()))
    except Exception:  # noqa: BLE001 (whatever a storage plugin raises: the task is then simply not taken over)
        return [uuid.uuid4().hex]
