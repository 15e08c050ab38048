"""What Snakemake's plugin registry finds: ``snakemake --executor azurebatch``.

The registry imports every plugin at every start of ``snakemake``, whatever the executor. So nothing here loads more
than the settings: the rest of the package would make each start a tenth longer.
"""

from typing import Any

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_azurebatch.settings import ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    # Local inputs, outputs and sources are moved by this plugin, so no storage provider is needed.
    can_transfer_local_files=True,
    job_deploy_sources=False,
    # Nothing is installed in a task; settings of unused storage plugins are kept off its command line.
    auto_deploy_default_storage_provider=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    # Variables go as environment settings of the task, not on a command line.
    pass_envvar_declarations_to_cmd=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """Makes ``snakemake_executor_azurebatch.executor.Executor``, and is never made itself."""

    def __new__(cls, *arguments: Any, **named: Any) -> RemoteExecutor:  # type: ignore[misc]  # noqa: ANN401
        """The executor of a run, for Snakemake's workflow and logger."""
        from snakemake_executor_azurebatch import executor

        return executor.Executor(*arguments, **named)
