"""Which pools a run leases, and the start and end of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.naming import short_hash
from snakemake_executor_azurebatch.options import LEASE
from snakemake_executor_azurebatch.pools.formula import Bounds
from snakemake_executor_azurebatch.pools.lease import Ask, Terms
from snakemake_executor_azurebatch.pools.planning import nodes_for
from snakemake_executor_azurebatch.pools.scaling import Leased, RunsLine
from snakemake_executor_azurebatch.run.leasing import Farewell, Leasing, Wants

if TYPE_CHECKING:
    from azure.batch import BatchClient

    from snakemake_executor_azurebatch.pools.ensure import Pool


@dataclass(frozen=True, slots=True)
class Lessee:
    """Who leases: one run. ``run`` names its lines; the next run in the same workdir takes them over."""

    client: BatchClient
    run: str
    say: Callable[[str], None]
    #: Nodes are given back at the end, and not only when the lease ends. Where they cost nothing, the next run finds
    #: them there.
    gives_back: bool = True
    is_patient: bool = True  #: even where that takes a while
    farewell: Farewell = field(default_factory=Farewell)  #: of all pools of the run
    terms: Terms = field(default_factory=Terms)


def name_of_line(workdir_id: str, run_id: str, *, is_heir: bool) -> str:
    """Names a run's lines. One run of a workdir at a time is the heir: it has the lines of the heir before it."""
    return short_hash(workdir_id, "" if is_heir else run_id)


def may_lease(pool: Pool, *, is_users_own: bool, scaling: str | None) -> bool:
    """Whether a pool that is there is leased: one of the user's own only where that is written, or is so already."""
    return not is_users_own or pool.is_leased or scaling == LEASE


class PoolLease:
    """The lease of one pool: what a new one is asked to be, then the thread that keeps it."""

    def __init__(self, lessee: Lessee, pool_id: str, bounds: Bounds, slots: Iterable[int]) -> None:
        """``slots``: of the tasks that are known before the first one is handed over."""
        known = [min(one, bounds.slots) for one in slots]
        self.bounds = bounds  #: what the pool may have
        self._lessee = lessee
        self._first = Ask(nodes_for(known, bounds.slots), len(known))
        self._line = RunsLine(lessee.client, pool_id, lessee.run, bounds, lessee.terms.lease_s)
        self._leasing: Leasing | None = None
        self._is_hurried = False

    def hear(self, response: Any) -> None:  # noqa: ANN401 (azure-core's PipelineResponse)
        """Learn the service's time from an answer."""
        self._line.clock.hear(response)

    def size(self) -> Leased:
        """Of a new pool."""
        return self._line.first(self._first)

    def start(self, wants: Wants, *, is_new: bool) -> None:
        """Keep the lease until ``stop``. ``is_new``: this run has made the pool, so that its line is there."""
        lessee = self._lessee
        self._leasing = Leasing(self._line, wants, lessee.terms, lessee.say, first=self._first, is_new=is_new)

    def renew(self) -> None:
        """Ask for the nodes once more, soon."""
        if self._leasing is not None:
            self._leasing.renew()

    def leave(self) -> None:
        """The run goes, and its tasks go on."""
        if self._leasing is not None:
            self._leasing.leave()

    def hurry(self) -> None:
        """Somebody waits for the end of the run."""
        self._is_hurried = True

    def stop(self) -> None:
        """Give the nodes back. Raises ServiceError."""
        if self._leasing is None:
            return
        if not self._lessee.gives_back:
            self._leasing.leave()
            return
        is_patient = self._lessee.is_patient and not self._is_hurried
        self._leasing.stop(self._lessee.farewell.left_s() if is_patient else 0.0)
