"""Steps in the syntax of a shell (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from enum import StrEnum

from snakemake_executor_azurebatch.provisioning.steps import Step

_KEPT = re.compile(r"\{([A-Za-z_]+)\}")
_PLAIN = re.compile(r"[\w./:=+-]+", re.ASCII)


class Shell(StrEnum):
    """Whose syntax is printed."""

    BASH = "bash"
    POWERSHELL = "powershell"


def script(steps: Iterable[Step], shell: Shell) -> str:
    """Lines for a shell: for each step a comment and a command."""
    return "\n".join(f"# {step.says}\n{command(step, shell)}\n" for step in steps)


def command(step: Step, shell: Shell) -> str:
    """One step as a line. What it keeps becomes a variable; one that is named like a constant is exported."""
    quote = _bash if shell is Shell.BASH else _powershell
    line = " ".join(["az", *(quote(argument) for argument in step.az)])
    if not step.keeps:
        return line
    is_exported = step.keeps.isupper()
    if shell is Shell.BASH:
        return f"{'export ' if is_exported else ''}{step.keeps}=$({line})"
    return f"${'env:' if is_exported else ''}{step.keeps} = {line}"


def _bash(argument: str) -> str:
    if kept := _KEPT.search(argument):
        return f'"{argument[: kept.start()]}${kept[1]}{argument[kept.end() :]}"'
    return shlex.quote(argument)


def _powershell(argument: str) -> str:
    """No step has double quotes in it: how PowerShell hands these on depends on its version."""
    if kept := _KEPT.search(argument):
        return f'"{argument[: kept.start()]}${kept[1]}{argument[kept.end() :]}"'
    if _PLAIN.fullmatch(argument):
        return argument
    return "'" + argument.replace("'", "''") + "'"
