"""``snakemake-azurebatch report``: one HTML page about a run."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakemake_executor_azurebatch.cli.common import fail, out

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.report.model import RunReport

EPILOG = (
    "Examples: `snakemake-azurebatch report`, `snakemake-azurebatch report --run RUN --output run.html`, "
    "`snakemake-azurebatch report --node-price 0.21 --currency EUR`, `snakemake-azurebatch report --list`."
)
RECORDS = Path(".snakemake", "azurebatch", "tasks.jsonl")


def report(  # noqa: PLR0913 (one parameter per option)
    workdir: Annotated[Path, typer.Option("--directory", "-d", help="Where snakemake was started.")] = Path(),
    run: Annotated[str | None, typer.Option(help="Id of a run, or of its Batch job. Default: the last run.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("azurebatch-report.html"),
    node_price: Annotated[
        float | None, typer.Option(min=0, help="What a node costs in an hour; without it, no prices are shown.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the price.")] = "",
    is_list: Annotated[bool, typer.Option("--list", help="List the runs, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and write no page.")] = False,
) -> None:
    """Write a page about the last run: who ran where and when, what was asked for and used, what went wrong.

    Needs neither account nor network. Exit code 1: there is no such run.
    """
    from snakemake_executor_azurebatch.report.model import NoSuchRun, chosen, report_of, runs_of
    from snakemake_executor_azurebatch.run.records import read_records

    file = workdir / RECORDS
    try:
        runs = runs_of(read_records(file))
        rows = chosen(runs, run)
    except OSError as error:
        fail(f"No run to report about: {file}: {error.strerror}. Was snakemake --executor azurebatch started here?")
    except NoSuchRun as error:
        fail(f"No run to report about in {file}: {error}.")
    if is_list:
        _list(runs, as_json)
        return
    made = report_of(rows, node_price)
    if as_json:
        typer.echo(json.dumps(_figures(made), indent=2))
        return
    _write(made, output, currency)


def _list(runs: dict[str, list[Any]], as_json: bool) -> None:
    listed = [
        {"run": run, "batch_job": rows[-1]["batch_job"], "tasks": len(rows), "ended_at": rows[-1]["recorded_at"]}
        for run, rows in runs.items()
    ]
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    for one in listed:
        out.print(f"{one['run']}  {one['ended_at']}  {one['tasks']} tasks  {one['batch_job']}", markup=False)


def _figures(made: RunReport) -> dict[str, Any]:
    return {
        "run": made.run,
        "batch_jobs": list(made.batch_jobs),
        "pools": list(made.pools),
        "tasks": len(made.tasks),
        "failed": made.failed,
        "wall_s": round(made.wall_s, 3),
        "causes": dict(made.causes),
        "nodes": [
            {"node": node.node_id, "tasks": len(node.tasks), "idle_s": round(node.idle_s, 3)} for node in made.nodes
        ],
        "rules": [asdict(rule) for rule in made.rules],
    }


def _write(made: RunReport, output: Path, currency: str) -> None:
    from snakemake_executor_azurebatch.report.page import page

    fresh = output.with_name(f".{output.name}.{uuid.uuid4().hex}")
    try:
        fresh.write_text(page(made, currency=currency), encoding="utf-8")
        fresh.replace(output)
    except OSError as error:
        fail(f"The page cannot be written to {output}: {error.strerror}")
    out.print(f"Run {made.run}: {len(made.tasks)} tasks, {made.failed} failed. Page: {output}", markup=False)
