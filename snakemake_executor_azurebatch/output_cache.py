"""Snakemake's between-workflow cache (``--cache``), asked in the controller.

Snakemake asks it where a job runs, and a node reaches no folder of this machine (source: Snakemake documentation,
"Between workflow caching"; seen with snakemake 9.23 to 9.27). So the controller looks before a job is submitted,
and stores when its outputs have come back; the command line of the job says nothing of a cache.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import Job

#: Snakemake's Workflow: more of it is used than its interface names.
Workflow = Any


class OutputCache:
    """The cache of one workflow; nothing happens where ``--cache`` is not given."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def fetch(self, job: Job) -> bool:
        """Put the outputs of ``job`` in their places, as links into the cache, where it has them all.

        Raises StagingError where the cache cannot be read.
        """
        from snakemake.exceptions import WorkflowError

        if not self._has(job):
            return False
        try:
            if not self._workflow.async_run(job.rule.cache.exists(job)):
                return False
            for f in job.output:
                _make_way(Path(f))
            self._workflow.async_run(job.rule.cache.fetch(job))
            for f in job.output:
                if f.is_directory:
                    f.touch()
        except (WorkflowError, OSError) as error:
            raise StagingError(f"the cache of rule {job.rule.name} (--cache): {error}") from error
        return True

    def store(self, job: Job) -> None:
        """Move the outputs of ``job`` into the cache and put links in their places. Raises StagingError."""
        from snakemake.exceptions import WorkflowError

        if not self._has(job):
            return
        try:
            self._workflow.async_run(job.rule.cache.store(job))
        except (WorkflowError, OSError) as error:
            raise StagingError(f"the cache of rule {job.rule.name} (--cache): {error}") from error

    def _has(self, job: Job) -> bool:
        """Groups run as one remote call, which is not taken apart."""
        return bool(
            self._workflow.workflow_settings.cache is not None
            and self._workflow.output_file_cache is not None
            and not job.is_group()
            and job.rule.cache
            and job.rule.cache.output
        )


def _make_way(path: Path) -> None:
    """What an earlier run left there goes: links are made only where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
