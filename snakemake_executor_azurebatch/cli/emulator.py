"""``snakemake-azurebatch emulator``: the local Azure Batch service, started, stopped and looked at by hand."""

from __future__ import annotations

import json
import math
import shlex
import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from snakemake_executor_azurebatch.cli import faults, requests
from snakemake_executor_azurebatch.cli.common import (
    StateDir,
    control,
    duration_s,
    err,
    fail,
    folder,
    out,
    refused,
    running,
)
from snakemake_executor_azurebatch.emulator import service
from snakemake_executor_azurebatch.emulator.control import ControlError
from snakemake_executor_azurebatch.emulator.environment import export_commands

app = typer.Typer(
    help="The local Azure Batch service: try workflows without Azure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

#: As `systemctl status` answers for a service that is not running.
EXIT_NOT_RUNNING = 3


class Shell(StrEnum):
    """Whose syntax `env` prints."""

    BASH = "bash"
    FISH = "fish"
    POWERSHELL = "powershell"


class Containers(StrEnum):
    """What tasks with container settings run in."""

    AUTO = "auto"
    DOCKER = "docker"
    PODMAN = "podman"
    PROCESS = "process"


@app.command()
def start(  # noqa: PLR0913 (one parameter per option)
    state_dir: StateDir = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 0,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop the service on Ctrl-C.")] = False,
    https: Annotated[bool, typer.Option("--https", help="HTTPS, with a certificate of its own.")] = False,
    bearer_tokens: Annotated[
        Path | None,
        typer.Option(exists=True, help="File of the bearer tokens to accept; any well-formed one without it."),
    ] = None,
    clock_speed: Annotated[float, typer.Option(help="Seconds of the service's clock per second.")] = 1.0,
    simulate: Annotated[str, typer.Option(help="Tasks take 'SECONDS' or 'MIN-MAX' and run nothing.")] = "",
    container_runtime: Annotated[
        Containers, typer.Option(help="What tasks with container settings run in; process: on this machine as it is.")
    ] = Containers.PROCESS,
    blob_faults: Annotated[
        bool, typer.Option("--blob-faults", help="Let requests to blob storage fail on purpose, too; slower.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the pools, jobs and tasks of before.")] = False,
) -> None:
    """Start the local service with its blob storage (Azurite)."""
    where = folder(state_dir)
    found = service.find(where)
    options = service.StartOptions(
        clock_speed=_positive(clock_speed),
        simulate=_span(simulate),
        is_https=https,
        bearer_tokens=bearer_tokens,
        container_runtime=container_runtime.value,
        is_fresh=fresh,
        has_blob_faults=blob_faults,
    )
    if found is not None:
        out.print(f"The local Azure Batch service runs already: {found.batch_url}", markup=False)
        return
    try:
        started = service.start(where, port=port, lifeline=foreground, progress=_say, options=options)
    except service.ServiceStartError as error:
        fail(str(error))
    _describe(started.service, state_dir)
    if foreground:
        _stay(started)
    else:
        started.leave_running()


@app.command()
def stop(state_dir: StateDir = None) -> None:
    """Stop the local service, its tasks and its blob storage. Stored blobs are kept."""
    ran = service.stop(folder(state_dir))
    out.print("The local Azure Batch service has stopped." if ran else "No local Azure Batch service is running.")


@app.command()
def status(
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, without keys.")] = False,
) -> None:
    """Say whether the local service runs, and where. Exit code 0: it runs, 3: it does not."""
    where = folder(state_dir)
    found = service.find(where)
    if as_json:
        typer.echo(json.dumps(_facts(found, where), indent=2))
    elif found is None:
        out.print("No local Azure Batch service is running.")
    else:
        _describe(found, state_dir)
    if found is None:
        raise typer.Exit(EXIT_NOT_RUNNING)


@app.command()
def env(
    state_dir: StateDir = None,
    shell: Annotated[Shell, typer.Option(help="Whose syntax to print.")] = Shell.BASH,
) -> None:
    """Print the commands that point a shell at the local service: eval "$(snakemake-azurebatch emulator env)"."""
    typer.echo(export_commands(running(state_dir).environment, shell.value), nl=False)


@app.command()
def clock(
    advance: Annotated[str | None, typer.Option(help="Move it ahead: 90, 5m, 2h, 1d.")] = None,
    speed: Annotated[float | None, typer.Option(help="Seconds of it per second, from now on.")] = None,
    skew: Annotated[str | None, typer.Option(help="Let it be wrong by so much: 1h, -20m; 0 mends it.")] = None,
    state_dir: StateDir = None,
) -> None:
    """Show the service's clock, or change it. Tasks that really run keep the world's time."""
    given = {
        "speed": speed,
        "skewSeconds": None if skew is None else duration_s(skew),
        "advanceSeconds": None if advance is None else duration_s(advance),
    }
    try:
        shown = control(state_dir).clock(**{name: value for name, value in given.items() if value is not None})
    except ControlError as error:
        refused(error)
    skewed = f", wrong by {shown['skewSeconds']:g} s" if shown["skewSeconds"] else ""
    out.print(f"{shown['now']} (speed {shown['speed']:g}{skewed})", markup=False)


app.command()(requests.log)
app.add_typer(faults.app, name="fault")


def _say(text: str) -> None:
    err.print(text, markup=False)


def _positive(speed: float) -> float:
    if not 0 < speed < math.inf:
        raise typer.BadParameter("a speed is greater than 0", param_hint="--clock-speed")
    return speed


def _span(text: str) -> str:
    least, dash, most = text.partition("-")
    try:
        is_good = not text or 0 <= float(least) <= float(most if dash else least) < math.inf
    except ValueError:
        is_good = False
    if not is_good:
        raise typer.BadParameter("seconds, or least-most seconds", param_hint="--simulate")
    return text


def _describe(found: service.RunningService, state_dir: Path | None) -> None:
    option = f" --state-dir {shlex.quote(str(state_dir))}" if state_dir else ""
    lines = [
        f"Local Azure Batch service: {found.batch_url} (account {found.account}, process {found.pid})",
        f"Blob storage (Azurite):    {found.blob_url}",
        f"State and log:             {found.state_dir}",
        *([f"Certificate to trust:      {found.ca_file}"] if found.ca_file else []),
        f'To use it in this shell:   eval "$(snakemake-azurebatch emulator env{option})"',
    ]
    out.print("\n".join(lines), markup=False)


def _facts(found: service.RunningService | None, where: Path) -> dict[str, object]:
    if found is None:
        return {"running": False, "state_dir": str(where)}
    return {
        "running": True,
        "pid": found.pid,
        "batch_url": found.batch_url,
        "account": found.account,
        "blob_url": found.blob_url,
        "ca_file": found.ca_file,
        "state_dir": str(found.state_dir),
    }


def _stay(started: service.StartedService) -> None:
    """Wait for Ctrl-C, SIGTERM, or the end of the service itself."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    exit_code = started.wait(asked)
    started.stop()
    if not asked.is_set():
        fail(f"The local Azure Batch service has ended (exit code {exit_code}). Its log: {started.log_file}")
    out.print("The local Azure Batch service has stopped.")
