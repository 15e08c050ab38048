"""``snakemake-azurebatch teardown``: the end of what ``setup`` has made."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import EXIT_FAILED, err, fail, out
from snakemake_executor_azurebatch.provisioning.shells import Shell

EPILOG = (
    "Examples: `snakemake-azurebatch teardown mylab`, `snakemake-azurebatch teardown mylab --run`, "
    "`snakemake-azurebatch teardown mylab --run --yes`."
)
LOST = (
    "Lost for good: pools, Batch jobs and what their tasks have written; all blobs; all images of the registry. "
    "Results that snakemake has brought back are in your working directories, and stay."
)


def teardown(
    resource_group: Annotated[str, typer.Argument(help="The resource group, as named for setup.")],
    shell: Annotated[Shell, typer.Option(help="Whose syntax to print.")] = Shell.BASH,
    run: Annotated[bool, typer.Option("--run", help="Run the commands with az, after a question.")] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="With --run: also where there are resources that setup has not made.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --run: do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what is in the group as JSON; deletes nothing.")
    ] = False,
) -> None:
    """Print the commands that delete a resource group with all that is in it, or run them after a question.

    Exit code 1: az has failed, there are resources of others, or nobody has agreed.
    """
    from snakemake_executor_azurebatch.provisioning import az, shells, steps

    listing, deletion = steps.list_step(resource_group), steps.delete_step(resource_group)
    if not (run or as_json):
        typer.echo(shells.script([listing, deletion], shell), nl=False)
        err.print(LOST)
        return
    with account.told():
        found = json.loads(az.call([*listing.az]))
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        _tell(resource_group, found)
        strange = [one for one in found if one.get("by") != steps.MARK]
        if strange and not everything:
            names = ", ".join(str(one["name"]) for one in strange)
            fail(f"Nothing is deleted: setup has not made {names}. To delete them with the rest: --everything")
        _agree(resource_group, yes)
        az.run([deletion], lambda text: err.print(text, markup=False))
    err.print(f"Resource group {resource_group} is deleted.", markup=False)


def _tell(resource_group: str, found: list[dict[str, str]]) -> None:
    out.print(f"In resource group {resource_group}:", markup=False)
    for one in found:
        out.print(f"  {one['name']}  {one['type']}", markup=False)
    if not found:
        out.print("  nothing")
    out.print(LOST)


def _agree(resource_group: str, yes: bool) -> None:
    if yes:
        return
    if not _can_ask():
        fail("Nothing is deleted: nobody can be asked here. To delete all this: --yes")
    if typer.prompt("To delete all this, type the name of the resource group", default="", err=True) != resource_group:
        err.print("Nothing is deleted.")
        raise typer.Exit(EXIT_FAILED)


def _can_ask() -> bool:
    return sys.stdin.isatty()
