"""``snakemake-azurebatch plan``: what a run would do, before anything is submitted."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakemake_executor_azurebatch.cli.common import EXIT_FAILED, fail, out

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.planned.plan import Plan

EPILOG = (
    "Examples: `snakemake-azurebatch plan --profile profiles/azure all`, "
    "`snakemake-azurebatch plan --json -- --profile profiles/azure --jobs 10`, "
    "`snakemake-azurebatch plan --unit-price 0.23 --currency EUR -- --profile profiles/azure`."
)
#: Options of this command come first; from the first word that is none of them on, all is Snakemake's.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def plan(
    context: typer.Context,
    unit_price: Annotated[
        float | None,
        typer.Option(min=0, help="What an hour of a dedicated Standard_D4s_v5 costs: prices are relative to that."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the price.")] = "",
    is_offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask Azure Batch about pools that are named by their id.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what snakemake with these arguments would do: lanes, images, pools, slots, prices, uploads, refusals.

    Give the arguments of snakemake after those of this command. Nothing is run, submitted, uploaded or locked. Exit
    code 1: the workflow cannot run like this, with all reasons.
    """
    from snakemake_executor_azurebatch.errors import AzureBatchError
    from snakemake_executor_azurebatch.planned.onlooker import look
    from snakemake_executor_azurebatch.planned.plan import make_plan

    made: list[Plan] = []
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what Snakefiles print is not the plan
            is_built = look(context.args, lambda workflow: made.append(make_plan(workflow, may_ask=not is_offline)))
    except AzureBatchError as error:
        if as_json:
            typer.echo(json.dumps({"refused": str(error).splitlines()}, indent=2))
        fail(str(error))
    if not is_built or not made:
        fail("No plan: Snakemake could not build its jobs (see above).")
    _tell(made[0], unit_price, currency, as_json=as_json)
    if made[0].refused:
        raise typer.Exit(EXIT_FAILED)


def _tell(made: Plan, unit_price: float | None, currency: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_as_json(made, unit_price, currency), indent=2))
        return
    from snakemake_executor_azurebatch.cli.plan_text import lines_of

    for line in lines_of(made, unit_price, currency, out.width):
        out.print(line, markup=False)


def _as_json(made: Plan, unit_price: float | None, currency: str) -> dict[str, Any]:
    unit = f"an hour of a dedicated Standard_D4s_v5 is {1 if unit_price is None else unit_price:g}"
    found = asdict(made) | {"price_unit": f"{currency}: {unit}" if currency else unit}
    for pool in found["pools"]:
        for name in ("price_per_hour_at_most", "price_per_hour_useful"):
            if pool[name] is not None and unit_price is not None:
                pool[name] = round(pool[name] * unit_price, 3)
    return found
