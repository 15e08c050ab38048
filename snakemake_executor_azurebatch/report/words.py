"""Amounts in words for the report (pure)."""

from __future__ import annotations

from datetime import UTC, datetime

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.report.model import REQUEUED
from snakemake_executor_azurebatch.run.judge import Cause


def cause(name: str) -> str:
    """Why a task failed, or was started again, as the run itself has said it."""
    if name == REQUEUED:
        return "its node was lost or taken away, and Azure Batch has started it again"
    return Cause[name].value if name in Cause.__members__ else name


def seconds(amount_s: float) -> str:
    """Such as 0.8 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if amount_s < 10:
        return f"{amount_s:.1f} s"
    whole = round(amount_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(amount_bytes: int | None) -> str:
    """A number of bytes, or that nobody knows it."""
    return "not known" if amount_bytes is None else shown_bytes(amount_bytes)


def moment(time_s: float | None) -> str:
    """A time, in UTC."""
    return "" if time_s is None else f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
