"""``snakemake-azurebatch setup``: from nothing to ready on Azure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import err, fail
from snakemake_executor_azurebatch.provisioning.shells import Shell

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.provisioning.names import Names
    from snakemake_executor_azurebatch.provisioning.steps import Step

EPILOG = (
    "Examples: `snakemake-azurebatch setup mylab --location westeurope`, "
    "`snakemake-azurebatch setup mylab --location westeurope --run`, "
    "`snakemake-azurebatch setup mylab --location westeurope --registry mylabimages --identity mylab-nodes`, "
    "`snakemake-azurebatch setup mylab --location westeurope --shell powershell > setup.ps1`."
)


def setup(  # noqa: PLR0913 (one parameter per option)
    name: Annotated[str, typer.Argument(help="Name of the accounts: 3 to 24 lower-case letters and digits.")],
    location: Annotated[str, typer.Option(help="Region, for example westeurope.")],
    resource_group: Annotated[str | None, typer.Option(help="Default: NAME.")] = None,
    batch_account: Annotated[str | None, typer.Option(help="Default: NAME.")] = None,
    storage_account: Annotated[str | None, typer.Option(help="Default: NAME.")] = None,
    registry: Annotated[str, typer.Option(help="Make a container registry of this name, too.")] = "",
    identity: Annotated[
        str, typer.Option(help="Make a managed identity of this name, and a pool whose nodes have it.")
    ] = "",
    principal: Annotated[str, typer.Option(help="Object id of who gets the roles. Default: who is signed in.")] = "",
    principal_type: Annotated[str, typer.Option(help="User, Group or ServicePrincipal.")] = "User",
    keys: Annotated[
        bool, typer.Option("--keys", help="Sign in with keys, and give nobody a role (who may not give roles).")
    ] = False,
    subscription: Annotated[str, typer.Option(help="Subscription that pays. Default: the one that az has.")] = "",
    shell: Annotated[Shell, typer.Option(help="Whose syntax to print.")] = Shell.BASH,
    profile: Annotated[Path, typer.Option(help="Folder for the profile that is written.")] = Path("profiles", "azure"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a profile that is there.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Run the commands with az, instead of printing them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --run: do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; runs nothing, and writes nothing.")] = False,
) -> None:
    """Print the commands that make what a run on Azure needs, or run them; and write a profile for it.

    Exit code 1: a name that Azure would refuse, a profile that is there already, or az has failed.
    """
    from snakemake_executor_azurebatch.provisioning import names as naming
    from snakemake_executor_azurebatch.provisioning import profile as profiles
    from snakemake_executor_azurebatch.provisioning import shells, steps

    with account.told():
        names = naming.check(
            naming.Names(
                location,
                resource_group or name,
                batch_account or name,
                storage_account or name,
                registry,
                identity,
            )
        )
        who = steps.Principal("" if keys else principal_type, principal)
        todo = steps.setup_steps(names, str(profiles.template_path()), who)
        texts = profiles.contents(names, profile)
        if as_json:
            typer.echo(json.dumps(_facts(names, todo, texts, profile), indent=2))
            return
        if run:
            _agree(subscription, yes)
        profiles.write(profile, texts, overwrite=overwrite)
        err.print(f"Profile: {profile / profiles.CONFIG}, {profile / profiles.POOLS}", markup=False)
        afterwards = steps.key_steps(names) if keys else []
        if run:
            _run(todo, steps.quota_step(names))
            if afterwards:
                err.print("In the shell that starts snakemake:")
                typer.echo(shells.script(afterwards, shell), nl=False)
        else:
            everything = [*steps.sign_in(subscription), *todo, steps.quota_step(names), *afterwards]
            typer.echo(shells.script(everything, shell), nl=False)
        err.print(f"Then: snakemake-azurebatch doctor --profile {profile}", markup=False)


def _facts(names: Names, todo: list[Step], texts: dict[str, str], profile: Path) -> dict[str, object]:
    return {
        "account_url": names.account_url,
        "storage_account": names.storage,
        "registry_server": names.registry_server,
        "resource_group": names.resource_group,
        "commands": [["az", *step.az] for step in todo],
        "profile": {str(profile / name): text for name, text in texts.items()},
    }


def _agree(subscription: str, yes: bool) -> None:
    """Where it is going to be made, and whether that is meant."""
    from snakemake_executor_azurebatch.provisioning import az

    if subscription:
        az.call(["account", "set", "--subscription", subscription])
    where = az.call(["account", "show", "--query", "name", "--output", "tsv"]).strip()
    if yes:
        err.print(f"Subscription: {where}", markup=False)
    elif not sys.stdin.isatty():
        fail(f"Nothing is made: nobody can be asked here. To make it in subscription {where!r}: --yes")
    elif not typer.confirm(f"Make this in the subscription {where!r}?", err=True):
        fail("Nothing is made.")


def _run(todo: list[Step], quota: Step) -> None:
    from snakemake_executor_azurebatch.provisioning import az

    az.run(todo, lambda text: err.print(text, markup=False))
    err.print(f"Cores that you may use: {az.call([*quota.az]).strip()}", markup=False)
