"""A plan as text, as wide as the terminal (pure)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.amounts import shown_bytes

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.planned.plan import Plan
    from snakemake_executor_azurebatch.pools.planning import JobsRow, PoolRow

NARROWEST = 20
VALUES_AT = 12
RELATIVE = "an hour of a dedicated Standard_D4s_v5 is 1; --unit-price says what that costs"


def lines_of(plan: Plan, unit_price: float | None, currency: str, width: int) -> Iterator[str]:
    """Lines of at most ``width`` characters, but for words that are longer."""
    for line in _lines(plan, unit_price, currency):
        margin = len(line) - len(line.lstrip())
        again = " " * (max(margin, VALUES_AT) if margin else 2)
        yield from textwrap.wrap(
            line, max(width, NARROWEST), subsequent_indent=again, break_long_words=False, break_on_hyphens=False
        ) or [""]


def _lines(plan: Plan, unit_price: float | None, currency: str) -> Iterator[str]:
    for row in plan.rules:
        yield from _rule(row)
    for rule, count in plan.local.items():
        yield f"{rule}: {_count(count, 'job')}, in this process (a local rule)"
    if not plan.rules and not plan.local:
        yield "Nothing to be done."
    for pool in plan.pools:
        yield ""
        yield from _pool(pool, unit_price, currency)
    if plan.rules:
        yield ""
        yield from _uploads(plan)
    for rule in plan.checkpoints:
        yield f"Not known yet: jobs that come after checkpoint {rule}."
    yield from plan.notes
    if plan.refused:
        yield ""
        yield "This cannot run on Azure Batch as it is:"
        for problem in plan.refused:
            yield from (f"  {line}" for line in problem.splitlines())


def _rule(row: JobsRow) -> Iterator[str]:
    what = _count(row.jobs, "group" if row.members else "job")
    yield f"{row.rule}: {what}{' of ' + ', '.join(row.members) if row.members else ''}"
    yield _entry("lane", row.lane, row.lane_why)
    yield _entry("image", row.image or "none", row.image_why)
    yield _entry("files by", {"batch": "Azure Batch", "stager": "the stager"}[row.staging], row.staging_why)
    if row.pool:
        size = f" ({row.vm_size})" if row.vm_size else ""
        yield _entry("pool", f"{row.pool}{size}, {row.slots} of {row.slots_per_node} slots of a node", row.pool_why)
    for retry in row.retries:
        yield f"  retries   {retry}"
    if row.final < row.jobs:
        yield (
            f"  may change, of {row.jobs - row.final}: resources that depend on files which are not there yet were "
            "taken for small ones"
        )


def _entry(name: str, value: str, why: str) -> str:
    return f"  {name:<9} {value}{': ' + why if why else ''}"


def _pool(pool: PoolRow, unit_price: float | None, currency: str) -> Iterator[str]:
    known = "" if pool.pool == pool.pool_id else f" (id {pool.pool_id})"
    yield f"Pool {pool.pool}{known}: {_count(pool.jobs, 'task')}{' on ' + pool.vm_size if pool.vm_size else ''}"
    at_most = [f"{count} {kind}" for count, kind in ((pool.dedicated_at_most, "dedicated"), (pool.spot_at_most, "spot"))
               if count]  # fmt: skip
    yield _entry("nodes", f"at most {' and '.join(at_most) or 'none'}; {pool.nodes_useful} could work at once", "")
    if pool.price_per_hour_at_most is None:
        yield _entry("price", "not known (the size is not in the catalogue, or it has no nodes)", "")
        return
    factor = 1.0 if unit_price is None else unit_price
    useful = pool.price_per_hour_useful or 0.0
    highest, likely = f"{pool.price_per_hour_at_most * factor:.3g}", f"{useful * factor:.3g}"
    money = f" {currency}" if currency and unit_price is not None else ""
    yield _entry("price", f"about {highest}{money} per hour at most, {likely}{money} with what could work at once", "")
    if unit_price is None:
        yield f"            ({RELATIVE})"


def _uploads(plan: Plan) -> Iterator[str]:
    up = plan.uploads
    yield f"To be uploaded: {_count(up.files, 'input file')}, {shown_bytes(up.size_bytes)}"
    if up.known_files:
        known = f"{_count(up.known_files, 'input file')}, {shown_bytes(up.known_bytes)}"
        yield f"Not again, by this folder's index: {known}"
    if up.source_files:
        packed = f"{_count(up.source_files, 'file')}, {shown_bytes(up.sources_bytes)} packed"
        yield f"Sources: {packed}; once for each content"


def _count(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
