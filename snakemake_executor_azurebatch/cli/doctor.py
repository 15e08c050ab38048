"""``snakemake-azurebatch doctor``: can a run work from here, and if not, what mends it?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import EXIT_FAILED, StateDir, folder, out

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.doctor.findings import Finding
    from snakemake_executor_azurebatch.options import Options

EPILOG = (
    "Examples: `snakemake-azurebatch doctor --profile profiles/azure`, `snakemake-azurebatch doctor --emulator`, "
    "`snakemake-azurebatch doctor --profile profiles/azure --task`, `snakemake-azurebatch doctor --json`."
)
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def doctor(  # noqa: PLR0913 (one parameter per option)
    workdir: account.Workdir = Path(),
    account_url: account.AccountUrl = None,
    storage_account: account.StorageAccount = None,
    profile: account.Profile = None,
    container_image: Annotated[str | None, typer.Option(help="Image that jobs run in. Default: the profile's.")] = None,
    jobs: Annotated[str | None, typer.Option(help="As for snakemake. Default: the profile's.")] = None,
    task: Annotated[
        bool,
        typer.Option(
            "--task",
            help="Run one tiny task, too. Its node costs, and its pool stays or goes as after a run.",
        ),
    ] = False,
    emulator: Annotated[bool, typer.Option("--emulator", help="Look at what the local service needs.")] = False,
    state_dir: StateDir = None,
    as_json: account.AsJson = False,
) -> None:
    """Check settings, sign-in, rights, storage, pools, images, clock and versions, and say what mends what is wrong.

    A Batch job without tasks and a small blob are made and deleted; nothing else is changed.
    Exit code 0: nothing has failed, 1: something has.
    """
    if emulator:
        from snakemake_executor_azurebatch.doctor.local import check_local

        found = check_local(folder(state_dir))
    else:
        given = account.given_settings(account_url, storage_account, profile)
        image = container_image or given.profile.get("container-image")
        flags = {"account-url": account_url, "storage-account": storage_account}
        wants = _Wants(workdir, profile, image, jobs or given.profile.get("jobs"), flags if task else None)
        found = list(_examined(given, wants))
    _show(found, as_json)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class _Wants:
    """What is to be looked at. ``flags``: those of a task that is to run; None: none is."""

    workdir: Path
    profile: Path | None
    image: str | None
    jobs: object
    flags: dict[str, str | None] | None


def _examined(given: account.Given, wants: _Wants) -> Iterator[Finding]:
    from snakemake_executor_azurebatch.doctor import findings, mends
    from snakemake_executor_azurebatch.doctor.local import check_local
    from snakemake_executor_azurebatch.errors import LocalServiceError, SettingsError

    try:
        options = account.read(given)
    except SettingsError as error:
        for problem in error.problems:
            yield findings.failed("settings", problem, mends.setting(problem))
        yield findings.skipped("all else", "the settings cannot work")
        return
    yield findings.passed("settings", _named(options))
    try:
        accounts = account.accounts_of(options)
    except LocalServiceError:  # a run starts one: what counts is whether it can
        yield from check_local(folder(None))
        return
    yield from _visited(options, accounts, wants)


def _visited(options: Options, accounts: account.Accounts, wants: _Wants) -> Iterator[Finding]:
    from importlib.metadata import version

    from snakemake_executor_azurebatch.doctor import task
    from snakemake_executor_azurebatch.doctor.visit import Visit, examine

    profile = wants.profile
    is_beside = bool(profile and options.pools_file and (profile / options.pools_file).exists())
    yield from examine(
        Visit(
            options=options,
            account=accounts.account,
            storage=accounts.storage,
            image=wants.image or f"snakemake/snakemake:v{version('snakemake')}",
            jobs=wants.jobs,
            workdir=wants.workdir,
            folder=profile if is_beside and profile else wants.workdir,
        )
    )
    if wants.flags is not None:
        arguments = ["--profile", str(profile.resolve())] if profile else []
        arguments += ["--container-image", wants.image] if wants.image else []
        for name, value in wants.flags.items():
            arguments += [f"--azurebatch-{name}", value] if value else []
        yield from task.check_task(arguments, accounts.storage, dict(os.environ))


def _named(options: Options) -> str:
    where = "the local service" if options.emulator else str(options.account and options.account.url)
    return f"complete; {where}"


def _show(found: list[Finding], as_json: bool) -> None:
    counts: dict[str, int] = {}
    for finding in found:
        counts[finding.verdict.value] = counts.get(finding.verdict.value, 0) + 1
    if as_json:
        rows: list[dict[str, Any]] = [asdict(finding) for finding in found]
        typer.echo(json.dumps({"findings": rows, "counts": counts}, indent=2))
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("found", overflow="fold")
    for finding in found:
        said = Text(finding.said)
        table.add_row(Text(finding.verdict.value, style=_STYLES[finding.verdict.value]), Text(finding.about), said)
    out.print(table, soft_wrap=False)
    for finding in found:
        if finding.mend and finding.verdict.value in ("warn", "fail"):
            # Whole lines, so that they can be copied.
            out.print(f"\n{finding.verdict.value}: {finding.about}. To mend it:\n  {finding.mend}", markup=False)
    out.print("\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()), markup=False)
