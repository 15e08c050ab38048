"""What is decided about the jobs of a workflow before anything remote is touched.

Both a run (``executor``) and ``snakemake-azurebatch plan`` decide by this, so that they cannot disagree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import Job, Reader
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.parse_reads import PARSE_READS
from snakemake_executor_azurebatch.pools.config import Pools, read_pools
from snakemake_executor_azurebatch.remote_call import RemoteCall
from snakemake_executor_azurebatch.rendering import source_caches
from snakemake_executor_azurebatch.run.confinement import why_confined, why_pool_confined
from snakemake_executor_azurebatch.storage import Providers
from snakemake_executor_azurebatch.versions import why_too_old
from snakemake_executor_azurebatch.ways import Ways

#: Snakemake's Workflow and DAG: more of them is used than their interfaces name.
Workflow = Any
Dag = Any


class Decisions:
    """Of one workflow. Raises AzureBatchError where settings, environment or the file with pools are wrong."""

    def __init__(self, workflow: Workflow, say: Callable[[str], None]) -> None:
        from snakemake import __version__ as found

        PARSE_READS.stop()
        if problem := why_too_old(found):
            raise AzureBatchError(problem)
        self.options = read_options(workflow.executor_settings, os.environ)
        if workflow.remote_execution_settings.immediate_submit:
            raise AzureBatchError(
                "--immediate-submit cannot work here: outputs come back when their job has ended. Leave it out, and "
                "let snakemake run until the last job has ended."
            )
        self.start_folder = Path(workflow.workdir_init)
        self.pools = self._read_pools(say)
        self.providers = Providers(workflow)
        self.reader = Reader(self.start_folder, self._why_confined, self.providers, source_caches(workflow))
        self.call = RemoteCall(workflow, self.start_folder, say)
        self.ways = Ways(workflow, self.options.ways, self.providers.is_staged)
        self._confinement: str | None = None

    def problems(self, job: Job) -> Iterator[str]:
        """Why a single job cannot run on Azure Batch: one sentence each; before it is ready."""
        yield from self.reader.problems(job)
        yield from self.call.problems(job)
        yield from self.ways.problems(job)

    def refuse(self, jobs: Iterable[Job]) -> None:
        """Tell of everything that cannot work. Raises AzureBatchError."""
        problems = {problem: None for job in jobs if not job.is_local for problem in self.problems(job)}
        if problems:
            raise AzureBatchError("\n".join(["This workflow cannot run on Azure Batch as it is:", *problems]))

    def without_containers(self, pool_id: str) -> None:
        """The pool that the user named has no containers: what is right for these may now be wrong."""
        self.ways.image = None
        self._confinement = why_pool_confined(pool_id)

    def _why_confined(self) -> str:
        """Why tasks cannot have any path that they want; found out once, and only where it matters."""
        if self._confinement is None:
            self._confinement = why_confined(self.options)
        return self._confinement

    def _read_pools(self, say: Callable[[str], None]) -> Pools | None:
        if self.options.pools_file is None:
            return None
        pools = read_pools(self.start_folder / self.options.pools_file, os.environ)
        for warning in pools.warnings:
            say(f"Warning: {warning}.")
        return pools


def units(dag: Dag) -> list[Job]:
    """What becomes a task each: jobs that need to run, and groups of them; local ones are left out."""
    found = {id(unit): unit for job in dag.needrun_jobs() for unit in [dag.get_job_group(job) or job]}
    return [unit for unit in found.values() if not unit.is_local]
