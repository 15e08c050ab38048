"""What all commands on the local service need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from snakemake_executor_azurebatch.emulator import service
from snakemake_executor_azurebatch.emulator.control import Control, ControlError

EXIT_FAILED = 1
_DURATION = re.compile(r"(?P<number>-?\d+(?:\.\d+)?)(?P<unit>[smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

#: Messages go to stderr where stdout is for a program to read.
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

StateDir = Annotated[
    Path | None,
    typer.Option(help=f"Where the service keeps its state (default: ${service.STATE_DIR_VARIABLE}, or a user folder)."),
]


def folder(state_dir: Path | None) -> Path:
    """The state directory that is meant."""
    return state_dir or service.default_state_dir()


def fail(message: str) -> NoReturn:
    """End with a message and exit code 1."""
    err.print(message, markup=False)
    raise typer.Exit(EXIT_FAILED)


def running(state_dir: Path | None) -> service.RunningService:
    """The service that runs there; otherwise the end."""
    found = service.find(folder(state_dir))
    if found is None:
        fail("No local Azure Batch service is running. Start it: snakemake-azurebatch emulator start")
    return found


def control(state_dir: Path | None) -> Control:
    """A hand on the service that runs there; otherwise the end."""
    return Control(running(state_dir))


def refused(error: ControlError) -> NoReturn:
    """End with the service's own words."""
    fail(f"The local service refused: {error}")


def duration_s(text: str) -> float:
    """Seconds of ``90``, ``5m``, ``2h`` or ``1d``. Raises typer.BadParameter."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a time such as 90, 5m, 2h or 1d")
    return float(match["number"]) * _UNIT_S[match["unit"]]
