"""The DAG of a command line, built by Snakemake as for a run with this executor, and looked at instead of run.

The command line is read by Snakemake itself, profiles included. In this process its registry has an executor under
this plugin's name that has the plugin's settings and flags, but is one of dry runs: no lock, no hook, no environment
is made, nothing is fetched. It is no stand-in for Snakemake's own ``dryrun``: with that one every job would be a local
one, of other resources, and there would be no groups (source: snakemake 9.27.1, Workflow.is_local, DAG.update_groups).
Snakemake makes the executor when the DAG is complete; looking at that ends it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from snakemake_interface_executor_plugins.registry.plugin import Plugin

from snakemake_executor_azurebatch.decisions import Workflow
from snakemake_executor_azurebatch.errors import AzureBatchError

NAME = "azurebatch"

#: Options that make Snakemake do something else than to run a workflow (source: snakemake 9.27.1, args_to_api).
OTHER_TASKS = (
    *("archive", "cleanup_metadata", "cleanup_shadow", "conda_cleanup_envs", "conda_create_envs_only"),
    *("container_cleanup_images", "containerize", "d3dag", "dag", "delete_all_output", "delete_temp_output"),
    *("deploy_sources", "detailed_summary", "filegraph", "generate_unit_tests", "lint", "list_changes"),
    *("list_conda_envs", "list_input_changes", "list_params_changes", "list_rules", "list_target_rules"),
    *("list_untracked", "print_compilation", "rulegraph", "summary", "touch", "unlock"),
)


class _Seen(BaseException):
    """Ends Snakemake when its DAG was looked at. No Exception: these it would report as errors."""


class _Dry(Plugin):
    """One of dry runs from when the DAG is to be built. Before, Snakemake would read --jobs otherwise (9.23)."""

    def validate_settings(self, settings: Any) -> None:  # noqa: ANN401 (as it is declared)
        """What comes first when a workflow is to be executed."""
        super().validate_settings(settings)
        self.common_settings = replace(self.common_settings, dryrun_exec=True)


def look(arguments: Sequence[str], at: Callable[[Workflow], None]) -> bool:
    """Let ``at`` look at the workflow of Snakemake's ``arguments``; False where Snakemake has said what is wrong.

    Raises AzureBatchError for arguments that are not those of a run, and what ``at`` raises of that kind.
    SystemExit comes from Snakemake's own parser.
    """
    from snakemake.cli import args_to_api, parse_args
    from snakemake.exceptions import print_exception
    from snakemake.settings.enums import Quietness
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    try:
        parser, args = parse_args(list(arguments))
    except Exception as error:  # noqa: BLE001 (as its own main does)
        print_exception(error)
        return False
    _check(args)
    # The lock of a run that is under way does not matter: nothing is changed.
    args.executor, args.dryrun, args.nolock, args.reporter, args.report = NAME, False, True, None, None
    args.report_after_run, args.quiet = False, {Quietness.HOST, Quietness.PROGRESS, Quietness.RULES}
    wrong: list[AzureBatchError] = []

    class Onlooker:
        def __init__(self, workflow: Workflow, _logger: object) -> None:
            try:
                at(workflow)
            except AzureBatchError as error:
                wrong.append(error)
            raise _Seen

    plugins: dict[str, Any] = ExecutorPluginRegistry().plugins
    plugin = plugins[NAME]
    plugins[NAME] = _Dry(Onlooker, plugin.common_settings, plugin.settings_cls, NAME)
    try:
        args_to_api(args, parser)
    except _Seen:
        if wrong:
            raise wrong[0] from None
        return True
    finally:
        plugins[NAME] = plugin
    return False


def _check(args: Namespace) -> None:
    others = [name for name in OTHER_TASKS if getattr(args, name, None) not in (None, False, [], set(), frozenset())]
    if getattr(args, "report", None) and not getattr(args, "report_after_run", False):
        others.append("report")
    if others:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise AzureBatchError(f"A plan is for the arguments of a run: leave out {named}.")
