"""What Snakemake's plugin registry finds: ``snakemake --executor azurebatch``.

The registry imports every plugin at every start of ``snakemake``, so nothing here loads the Azure SDK.
"""

from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_azurebatch.executor import Executor
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
