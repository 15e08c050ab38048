"""Measuring processes, and printing what came out."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """One run of a process."""

    wall_s: float  #: from before its start to after its end
    cpu_s: float  #: user and system time, of its children too
    text: str  #: its stdout
    peak_mib: float = 0.0  #: most memory that it had at one time


def measure(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None) -> Measured:
    """Run a process to its end. Raises SystemExit with what it wrote where it fails."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}:\n{text}")
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, text, usage.ru_maxrss / 1024)


def median(values: Sequence[float]) -> float:
    """The median, rounded for printing."""
    return round(statistics.median(values), 3)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("| --- " + "| ---: " * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(_shown(cell) for cell in row) + " |", flush=True)


def _shown(cell: str | float) -> str:
    return cell if isinstance(cell, str) else f"{cell:,.2f}" if cell < 100 else f"{cell:,.0f}"
