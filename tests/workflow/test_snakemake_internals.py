"""What the plugin uses of Snakemake beyond its plugin interface is there, with the arguments that it is given.

Snakemake may rename any of it in a minor version. A failure here names what changed, where a failing workflow
would show only its consequence.
"""

import dataclasses
import importlib
import inspect
import re

import pytest
import snakemake
import snakemake.api  # first of all: its modules import each other

JOBS = "attempt benchmark input is_group jobid log output params resources rule threads wildcards_dict"
SINGLE_JOBS = "_path_to_source_file _resources benchmark_repeats container_img_url is_local is_shell"
GROUP_JOBS = "attempt groupid is_group jobid rules threads toposorted"

USED = {
    "snakemake.workflow:Workflow": "async_run conda_base_path config_settings dag deployment_settings "
    "execution_settings executor_settings main_snakefile output_file_cache output_settings overwrite_configfiles "
    "overwrite_workdir persistence remote_execution_settings rules runtime_paths sourcecache storage_provider_settings "
    "storage_registry storage_settings workdir_init workflow_settings",
    "snakemake.dag:subprocess": "check_output",
    "snakemake.dag:DAG": "get_sources get_unneeded_temp_files jobs needrun_jobs",
    "snakemake.persistence:PersistenceBase": "backup_output cleanup_backup restore_output",
    "snakemake.jobs:Job": f"{JOBS} {SINGLE_JOBS} protected_output storage_output wildcards",
    "snakemake.jobs:GroupJob": GROUP_JOBS,
    "snakemake.rules:Rule": "basedir cache conda_env env_modules expand_input expand_output expand_params "
    "expand_resources name notebook run_func script workflow wrapper",
    "snakemake.rules:InputFiles": "_get_names _plainstrings _set_name append",
    "snakemake.rules:Params": "_get_names _set_name append",
    "snakemake.iocontainers:ResourceList": "items",
    "snakemake.caching.rule:RuleCache": "exists fetch output store",
    "snakemake.io:_IOFile": "flags is_directory is_storage protect storage_object touch",
    "snakemake.storage:StorageRegistry": "_storages _storage_object",
    "snakemake.shell:shell": "_get_process_prefix _process_prefix _process_suffix get_executable",
    "snakemake.sourcecache:SourceCache": "cache_path runtime_cache_path",
    "snakemake.sourcecache:LocalSourceFile": "get_path_or_uri",
    "snakemake.executors.local:Executor": "cached_or_run get_python_executable",
    "snakemake.settings.types:ConfigSettings": "config_args replace_workflow_config",
    "snakemake.settings.types:WorkflowSettings": "cache wrapper_prefix",
    "snakemake.settings.types:ExecutionSettings": "cleanup_scripts lock",
    "snakemake.settings.types:OutputSettings": "benchmark_extended verbose",
    "snakemake.settings.types:DeploymentSettings": "apptainer_args deployment_method",
    "snakemake.settings.types:StorageSettings": "local_storage_prefix retrieve_storage",
    "snakemake.settings.types:RemoteExecutionSettings": "container_image immediate_submit precommand",
}

#: Functions that are replaced on the node or called with these arguments.
SIGNATURES = {
    "snakemake.rules:Rule.expand_input": "self wildcards groupid",
    "snakemake.rules:Rule.expand_output": "self wildcards",
    "snakemake.rules:Rule.expand_params": "self wildcards input output job",
    "snakemake.rules:Rule.expand_resources": "self wildcards input attempt",
    "snakemake.iocontainers:Namedlist._set_name": "self name index end",
    "snakemake.executors.local:Executor.cached_or_run": "self job run_func",
    "snakemake.wrapper:get_path": "path prefix",
    "snakemake.wrapper:is_script": "source_file",
    "snakemake.cli:main": "argv",
    "snakemake.utils:format": "_pattern args stepout",
}


def found(path: str) -> object:
    module, _, names = path.partition(":")
    thing = importlib.import_module(module)
    for name in names.split("."):
        thing = getattr(thing, name)
    return thing


def has(kind: type, name: str) -> bool:
    """Whether objects of this class have the attribute: of the class, a field, or set by one of its methods."""
    if hasattr(kind, name) or (dataclasses.is_dataclass(kind) and name in {f.name for f in dataclasses.fields(kind)}):
        return True
    sources = [inspect.getsource(base) for base in kind.__mro__ if base.__module__.startswith("snakemake")]
    return any(re.search(rf"\bself\.{name}\b[^=\n()]*=[^=]", source) for source in sources)


@pytest.mark.parametrize("path", USED)
def test_classes_have_what_the_plugin_uses(path):
    kind = found(path)

    missing = [name for name in USED[path].split() if not has(kind, name)]

    assert not missing, f"snakemake {snakemake.__version__}: {path} has no {', '.join(missing)} any more"


@pytest.mark.parametrize("path", SIGNATURES)
def test_functions_take_what_the_plugin_gives_them(path):
    names = inspect.signature(found(path)).parameters

    missing = [name for name in SIGNATURES[path].split() if name not in names]

    assert not missing, f"snakemake {snakemake.__version__}: {path}({', '.join(names)}) has no {', '.join(missing)}"
