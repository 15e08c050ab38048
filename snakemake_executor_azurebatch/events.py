"""What logger plugins of Snakemake find in the records of this plugin (pure).

A record with an attribute ``azurebatch`` is an event: its ``event`` says which, the other keys what is known.

    task_ended    at level DEBUG, which Snakemake gives to loggers with ``--verbose``: the keys of ``run.records``
    run_ended     at level INFO: sums over the run, and its pools
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def event(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """``extra`` of a record. Snakemake's own events are told apart by ``record.event``, which this one leaves alone."""
    return {"azurebatch": {"event": name, **known}}
