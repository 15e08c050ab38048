"""How many nodes a pool has: fixed, or leased by the runs that use it; and the requests that change a lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.clients import FIRST_CALL
from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.pools.formula import (
    EVERY,
    Bounds,
    Line,
    formula_of,
    lines_of,
    with_line,
    without_line,
)
from snakemake_executor_azurebatch.pools.lease import Ask

if TYPE_CHECKING:
    from azure.batch import BatchClient

#: What Azure Batch says when it takes no change just now (source: Azure Batch reference, "Enable Auto Scale").
BUSY_CODES = ("PoolBeingResized", "TooManyEnableAutoScaleRequests")
_CHANGED = "ConditionNotMet"
#: How often another run may be quicker in a row.
_TRIES = 5
#: A refusal is an answer here: azure-core is not to repeat the request by itself.
_ONCE: dict[str, Any] = {**FIRST_CALL, "retry_total": 0}


@dataclass(frozen=True, slots=True)
class Fixed:
    """So many nodes, until somebody resizes or deletes the pool."""

    dedicated: int
    spot: int

    def members(self) -> dict[str, Any]:
        """Of the request that makes the pool."""
        return {"target_dedicated_nodes": self.dedicated, "target_low_priority_nodes": self.spot}


@dataclass(frozen=True, slots=True)
class Leased:
    """As many as this formula says."""

    formula: str

    def members(self) -> dict[str, Any]:
        """Of the request that makes the pool."""
        return {
            "enable_auto_scale": True,
            "auto_scale_formula": self.formula,
            "auto_scale_evaluation_interval": EVERY,
        }


class NotNow(Exception):
    """Azure Batch takes no change of the pool at the moment; ``code`` is its own word for why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class ServiceClock:
    """The service's time of day, read from its answers: the clock of this machine may be wrong."""

    def __init__(self) -> None:
        self._heard: datetime | None = None
        self._heard_s = 0.0

    def hear(self, response: Any) -> None:  # noqa: ANN401 (azure-core's PipelineResponse)
        """Note the date of an answer. One without is passed over."""
        date = response.http_response.headers.get("Date")
        if date is not None:
            self._heard, self._heard_s = parsedate_to_datetime(date), time.monotonic()

    def now(self) -> datetime:
        """The service's time, to about a second; this machine's before the first answer."""
        if self._heard is None:
            return datetime.now(UTC)
        return self._heard + timedelta(seconds=time.monotonic() - self._heard_s)


class RunsLine:
    """One run's line in one pool's formula."""

    def __init__(self, client: BatchClient, pool_id: str, run: str, bounds: Bounds, lease_s: float) -> None:
        self.pool_id = pool_id
        self.bounds = bounds
        self.clock = ServiceClock()
        self._client = client
        self._run = run
        self._lease_s = lease_s

    def first(self, ask: Ask) -> Leased:
        """The formula of a pool that this run makes."""
        return Leased(formula_of([self._line(ask)], self.bounds))

    def write(self, ask: Ask) -> None:
        """Put the line into the formula, for a whole lease from now. Raises NotNow, ServiceError."""
        self._change(lambda lines: with_line(lines, self._line(ask), self.clock.now()))

    def remove(self) -> None:
        """Take the line out. Raises NotNow, ServiceError."""
        self._change(lambda lines: without_line(lines, self._run, self.clock.now()))

    def _line(self, ask: Ask) -> Line:
        return Line(self._run, self.clock.now() + timedelta(seconds=self._lease_s), ask.nodes, ask.tasks)

    def _change(self, edit: Callable[[list[Line]], list[Line]]) -> None:
        for _ in range(_TRIES):
            try:
                self._change_once(edit)
            except ServiceError as error:
                if error.code in BUSY_CODES:
                    raise NotNow(error.code) from error
                if error.code != _CHANGED:
                    raise
            else:
                return
        raise NotNow(_CHANGED)

    def _change_once(self, edit: Callable[[list[Line]], list[Line]]) -> None:
        """Read, change, write back if nobody else has. The interval sent again lets the change act at once.

        source: Azure Batch reference, "Enable Auto Scale", autoScaleEvaluationInterval.
        """
        from azure.batch import models
        from azure.core import MatchConditions

        with service(f"looking at the formula of pool {self.pool_id}"):
            pool = self._client.get_pool(self.pool_id, raw_response_hook=self.clock.hear, **FIRST_CALL)
        if pool.allocation_state != "steady":  # it would be refused
            raise NotNow("PoolBeingResized")
        formula = formula_of(edit(lines_of(pool.auto_scale_formula)), self.bounds)
        wanted = models.BatchPoolEnableAutoScaleOptions(
            auto_scale_formula=formula, auto_scale_evaluation_interval=EVERY
        )
        with service(f"changing the formula of pool {self.pool_id}"):
            self._client.enable_pool_auto_scale(
                self.pool_id, wanted, etag=pool.etag, match_condition=MatchConditions.IfNotModified, **_ONCE
            )
