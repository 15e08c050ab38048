"""An executor that completes every job at once: what a run costs with it is what Snakemake itself spends.

Its jobs leave an empty file for each output, as Snakemake looks for these.
"""

from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """``--executor instant``."""

    def run_job(self, job):
        """Do what the job would leave, and report it."""
        info = SubmittedJobInfo(job, external_jobid=str(job.jobid))
        super(RemoteExecutor, self).report_job_submission(info, register_job=True)
        for output in job.output:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            Path(output).touch()
        self.report_job_success(info)

    async def check_active_jobs(self, active_jobs):
        """There are none."""
        for info in active_jobs:
            yield info

    def cancel_jobs(self, active_jobs):
        """There are none."""
