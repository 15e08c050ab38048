"""``snakemake-azurebatch emulator log``: what clients have asked the local service."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from snakemake_executor_azurebatch.cli.common import StateDir, err, folder, out
from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.requestlog import summary

_PAUSE_S = 0.2


def log(
    state_dir: StateDir = None,
    is_summary: Annotated[bool, typer.Option("--summary", help="One line per operation.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new requests, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only so many; 0: all.")] = 0,
) -> None:
    """Show the requests that the local service has answered. They stay when it stops."""
    file = ServiceConfig(folder(state_dir)).request_log
    new, offset = _entries(file, 0)
    shown = new[-last:]
    if is_summary:
        out.print(_table(shown))
        return
    for entry in shown:
        _show(entry)
    if not shown and not follow:
        err.print(f"No requests are logged in {file}", markup=False)
    while follow:
        time.sleep(_PAUSE_S)
        new, offset = _entries(file, offset)
        for entry in new:
            _show(entry)


def _entries(file: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The whole lines from ``offset`` on, and the offset behind them. None where there is no file."""
    if not file.exists():
        return [], offset
    with file.open("rb") as stream:
        stream.seek(offset)
        text, _, rest = stream.read().rpartition(b"\n")
        return [json.loads(line) for line in text.splitlines()], stream.tell() - len(rest)


def _show(entry: dict[str, Any]) -> None:
    items = f" ({entry['items']} tasks)" if "items" in entry else ""
    words = f"{entry['method']} {entry['route'] or '(unknown)'}{items}"
    status = entry["status"] or "cut"
    out.print(f"{entry['time']}  {status}  {words}  {entry['duration_ms']} ms  {entry['client']}", markup=False)


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table("operation", "statuses", box=None)
    for name in ("count", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right")
    for line in summary(entries):
        statuses = " ".join(f"{status or 'cut'}: {count}" for status, count in line.statuses.items())
        table.add_row(line.operation, statuses, str(line.count), f"{line.p50_ms:.1f}", f"{line.p95_ms:.1f}")
    table.add_row("all", "", str(len(entries)), "", "")
    return table
