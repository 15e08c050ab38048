"""A run on several pools: one Run for each pool that a job needs, behind what one Run offers."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import JobRequest, Share
from snakemake_executor_azurebatch.pools.needs import SPOT_RESOURCE
from snakemake_executor_azurebatch.run.fingerprint import work_of
from snakemake_executor_azurebatch.run.moving import Move, ToDedicated
from snakemake_executor_azurebatch.run.run import Run
from snakemake_executor_azurebatch.run.session import Session
from snakemake_executor_azurebatch.run.several import Several
from snakemake_executor_azurebatch.staging.archive import SourceArchive

Place = Callable[[JobRequest], JobRequest]


class Runs:
    """Jobs go to the run on the pool of their share.

    All happens in the scheduler's thread, but for reports, and for jobs that go to another pool: these come from the
    threads of the runs that had them. Pools are opened without the lock, since that may take long.
    """

    def __init__(self, several: Several, make_run: Callable[[Session, ToDedicated], Run], place: Place) -> None:
        """``place``: gives a request its share of a node."""
        self._several = several
        self._make_run = make_run
        self._place = place
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._openings: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  #: each pool is opened once
        self._refused: dict[str, str] = {}  #: pools that could not be opened for the jobs of this round, and why
        self._is_over = False  #: what is opened now is closed again
        self._of_key: dict[str, Run] = {}
        self._sources: SourceArchive | None = None
        self._shipped: dict[str, SourceArchive] = {}  #: to which pool
        self._works: set[str] = set()

    def use_sources(self, archive: SourceArchive) -> None:
        """Ship this with every job that is named from now on: to each pool when the first one comes to it."""
        self._sources = archive

    def name(self, request: JobRequest, versions: list[str], is_cut_off: Callable[[str], bool]) -> JobRequest:
        """The request with the id of its task; its pool is opened by the first one. Raises AzureBatchError.

        What has kept a pool from being opened keeps all jobs of a round from it: each would wait as long, in vain.
        """
        request = self._where_it_is(request)
        share = _share_of(request)
        if (why := self._refused.get(share.pool)) is not None:
            raise AzureBatchError(why)
        try:
            run = self._at(share)
        except AzureBatchError as error:
            self._refused[share.pool] = str(error)
            raise
        named = run.name(request, versions, is_cut_off)
        with self._lock:
            self._of_key[named.key] = run
        return named

    def keep_only(self, works: set[str]) -> None:
        """End tasks of an earlier run for jobs that are not among ``works``."""
        with self._lock:
            self._works = works
            runs = list(self._runs.values())
        for run in runs:
            run.keep_only(works)

    def settled(self, key: str, *, is_done: bool) -> None:
        """Snakemake has taken the end of this job: no later run is to look for its task."""
        with self._lock:
            run = self._of_key.pop(key, None)
        if run is not None:
            run.settled(key, is_done=is_done)

    def prepare(self, request: JobRequest) -> Move | None:
        """Open a pool without spot nodes for a job: one of the file that fits, else a twin of its own pool.

        None where its pool has no spot nodes. Neither an outage of Azure Batch is waited for, nor room for a Batch job:
        the job goes on where it is meanwhile. Raises AzureBatchError.
        """
        moved = self._dedicated(request)
        if moved is None:
            return None
        run = self._at(_share_of(moved), waits=False)

        def submit() -> None:
            with self._lock:
                self._of_key[request.key] = run
            run.submit([moved])

        return Move(run.pool_id, submit)

    def _where_it_is(self, request: JobRequest) -> JobRequest:
        """The job on the dedicated nodes that an earlier run has moved its task to, if it is still there."""
        where = self._several.where_left(work_of(request.members))
        moved = self._dedicated(request) if where is not None and where != self._several.pool_id(request) else None
        return moved if moved is not None and self._several.pool_id(moved) == where else request

    def _dedicated(self, request: JobRequest) -> JobRequest | None:
        """The job on a pool without spot nodes; None where its own has none."""
        share = request.share
        if share is None or not self._several.has_spot(share.pool):
            return None
        try:
            placed = self._place(replace(request, resources={**request.resources, SPOT_RESOURCE: False}))
            return replace(placed, resources=request.resources)
        except AzureBatchError:
            return replace(request, share=replace(share, pool=self._several.twin(share.pool)))

    def submit(self, requests: Sequence[JobRequest]) -> None:
        """Take jobs over that were named, perhaps none. Returns at once. Pools that were refused may be tried again."""
        self._refused.clear()
        by_run: dict[int, tuple[Run, list[JobRequest]]] = {}
        for request in requests:
            with self._lock:
                run = self._of_key[request.key]
            by_run.setdefault(id(run), (run, []))[1].append(request)
        for run, together in by_run.values():
            run.submit(together)

    def cancel(self) -> int:
        """End all tasks, and report nothing from now on; how many jobs were not done."""
        with self._lock:
            self._is_over = True
            runs = list(self._runs.values())
        self._several.cancel()
        with DaemonPool(max(1, len(runs)), "azurebatch-cancel") as pool:
            return sum(pool.map(Run.cancel, runs))

    def close(self) -> None:
        """End the run, and all that was opened for it."""
        while (run := self._next()) is not None:
            run.close()
        with self._lock:
            openings = list(self._openings.values())
        for opening in openings:
            with opening:  # whoever has it closes what it has opened
                pass
        self._several.close()

    def _next(self) -> Run | None:
        """One that is still open: the last moments of one may have opened another, but none when all are closed."""
        with self._lock:
            self._is_over = not self._runs
            return self._runs.popitem()[1] if self._runs else None

    def _at(self, share: Share, *, waits: bool = True) -> Run:
        """The run on this pool, opened where it is not yet. ``waits``: for whoever opens it, and for Azure."""
        with self._lock:
            opening = self._openings[share.pool]
        if not opening.acquire(blocking=waits):
            raise AzureBatchError(f"pool {share.pool} is being opened just now")
        try:
            with self._lock:
                run = self._runs.get(share.pool)
                if self._is_over:
                    raise AzureBatchError(_OVER)
            run = run or self._open(share, waits=waits)
            while (archive := self._sources) is not None and self._shipped.get(share.pool) is not archive:
                run.use_sources(archive)
                self._shipped[share.pool] = archive
            return run
        finally:
            opening.release()

    def _open(self, share: Share, *, waits: bool) -> Run:
        session = self._several.session(share.pool, [share.slots], waits=waits)
        with ExitStack() as opening:
            opening.callback(session.close)
            run = self._make_run(session, self)
            run.keep_only(self._works)
            with self._lock:
                if not self._is_over:
                    self._runs[share.pool] = run
                    opening.pop_all()
                    return run
            run.cancel()
            run.close()
        raise AzureBatchError(_OVER)


_OVER = "the run has ended meanwhile"


def _share_of(request: JobRequest) -> Share:
    if request.share is None:
        raise LookupError(f"job {request.name} was not placed")
    return request.share
