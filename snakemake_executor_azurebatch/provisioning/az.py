"""Runs steps with the Azure CLI."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.provisioning.steps import Step

#: A deployment takes minutes; nothing here takes an hour.
LIMIT_S = 3600.0


class AzError(AzureBatchError):
    """``az`` is not there, or has refused."""


def run(steps: Iterable[Step], say: Callable[[str], None]) -> dict[str, str]:
    """Run steps in order; what was kept. Raises AzError at the first that fails."""
    kept: dict[str, str] = {}
    for step in steps:
        say(f"{step.says} ...")
        output = call([_filled(argument, kept) for argument in step.az])
        if step.keeps:
            kept[step.keeps] = output.strip()
    return kept


def call(arguments: list[str]) -> str:
    """What one command has printed. Raises AzError with its own words."""
    az = shutil.which("az")
    if az is None:
        raise AzError("The Azure CLI (az) is not on PATH. Install it, or leave out --run and take the commands along.")
    try:
        done = subprocess.run(
            [az, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AzError(f"az {' '.join(arguments[:3])} could not be run: {error}") from error
    if done.returncode != 0:
        raise AzError(f"az {' '.join(arguments[:3])} has failed (exit code {done.returncode}):\n{done.stderr.strip()}")
    return done.stdout


def _filled(argument: str, kept: dict[str, str]) -> str:
    for name, value in kept.items():
        argument = argument.replace(f"{{{name}}}", value)
    return argument
