"""The console script ``snakemake-azurebatch``."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Annotated

import typer

from snakemake_executor_azurebatch.cli import cleanup, doctor, emulator, logs, plan, report, setup, status, teardown

app = typer.Typer(
    name="snakemake-azurebatch",
    help="Tools around `snakemake --executor azurebatch`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(emulator.app, name="emulator")
app.command(epilog=setup.EPILOG)(setup.setup)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command(epilog=plan.EPILOG, context_settings=plan.CONTEXT)(plan.plan)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=status.EPILOG)(status.status)
app.command(epilog=logs.EPILOG)(logs.logs)
app.command(epilog=cleanup.EPILOG)(cleanup.cleanup)
app.command(epilog=teardown.EPILOG)(teardown.teardown)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snakemake-azurebatch {version('snakemake-executor-plugin-azurebatch')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Tools around `snakemake --executor azurebatch`."""
    # azure-batch warns, with a traceback, of each refusal without a body, as that of HEAD is (seen with 15.1).
    logging.getLogger("azure").setLevel(logging.ERROR)
