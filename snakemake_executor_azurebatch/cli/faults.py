"""``snakemake-azurebatch emulator fault``: make the local service fail on purpose, as Azure can."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from snakemake_executor_azurebatch.cli.common import StateDir, control, duration_s, out, refused
from snakemake_executor_azurebatch.emulator.control import ControlError
from snakemake_executor_azurebatch.emulator.faultinjection import KINDS

app = typer.Typer(help="Make the local service fail on purpose, as Azure can.", no_args_is_help=True)


@app.command()
def kinds() -> None:
    """List what can go wrong, and the options that each kind takes."""
    table = Table("kind", "what happens", "options", box=None)
    for name, kind in KINDS.items():
        table.add_row(name, kind.says, " ".join(f"--{each}" for each in kind.takes))
    out.print(table)


@app.command()
def add(  # noqa: PLR0913 (one parameter per option)
    kind: Annotated[str, typer.Argument(help="See `fault kinds`.")],
    endpoint: Annotated[str | None, typer.Option(help="batch, or blob (after start --blob-faults).")] = None,
    route: Annotated[str | None, typer.Option(help="Pattern of operations, as '/jobs/*', or of blobs' paths.")] = None,
    method: Annotated[str | None, typer.Option(help="Method of the requests.")] = None,
    rate: Annotated[float | None, typer.Option(help="Share of the requests that fit, up to 1.")] = None,
    count: Annotated[int | None, typer.Option(help="So many requests, or nodes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the random choices.")] = None,
    status: Annotated[int | None, typer.Option(help="429 or 503.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Latency, Retry-After or skew: 1.5, 5m, 2h.")] = None,
    pool: Annotated[str | None, typer.Option(help="Id of a pool.")] = None,
    node: Annotated[str | None, typer.Option(help="Id of a node.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many nodes a pool can have, or active jobs.")] = None,
    code: Annotated[str | None, typer.Option(help="Of tasks' failures (CommandProgramNotFound) or refusals.")] = None,
    state_dir: StateDir = None,
) -> None:
    """Add a fault. It stays until it is cleared, or its count is used up."""
    given = {
        "endpoint": endpoint,
        "route": route,
        "method": method,
        "rate": rate,
        "count": count,
        "seed": seed,
        "status": status,
    }
    given |= {"pool": pool, "node": node, "limit": limit, "code": code}
    given |= {"seconds": None if seconds is None else duration_s(seconds)}
    members = {name: value for name, value in given.items() if value is not None}
    try:
        added = control(state_dir).add_fault(kind, **members)
    except ControlError as error:
        refused(error)
    for struck in added.get("nodes", ()):
        out.print(f"{struck['pool']}/{struck['id']}: {struck['state']}", markup=False)
    if "nodes" not in added:
        out.print(f"Fault {added['id']} is in force: {_words(added)}", markup=False)


@app.command("list")
def list_faults(state_dir: StateDir = None) -> None:
    """List the faults in force."""
    try:
        found = control(state_dir).faults()
    except ControlError as error:
        refused(error)
    for fault in found:
        out.print(f"{fault['id']}: {_words(fault)}", markup=False)
    if not found:
        out.print("No faults are in force.")


@app.command()
def clear(
    number: Annotated[int | None, typer.Argument(help="Number of one fault; all without it.")] = None,
    state_dir: StateDir = None,
) -> None:
    """End faults. What they did stays done."""
    try:
        if number is None:
            control(state_dir).clear_faults()
        else:
            control(state_dir).remove_fault(number)
    except ControlError as error:
        refused(error)


def _words(fault: dict[str, Any]) -> str:
    members = (
        f"{name} {value}"
        for name, value in fault.items()
        if name not in ("id", "kind", "seed") and value not in ("", 0, "batch")
    )
    return ", ".join([str(fault["kind"]), *members])
