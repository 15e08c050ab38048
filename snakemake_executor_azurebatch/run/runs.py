"""A run on several pools: one Run for each pool that a job needs, behind what one Run offers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.pools.needs import SPOT_RESOURCE
from snakemake_executor_azurebatch.run.moving import Move, ToDedicated
from snakemake_executor_azurebatch.run.run import Run
from snakemake_executor_azurebatch.run.session import Session
from snakemake_executor_azurebatch.run.several import Several

Place = Callable[[JobRequest], JobRequest]


class Runs:
    """Jobs go to the run on the pool of their share. All but reports happens in the scheduler's thread."""

    def __init__(self, several: Several, make_run: Callable[[Session, ToDedicated], Run], place: Place) -> None:
        """``place``: gives a request its share of a node."""
        self._several = several
        self._make_run = make_run
        self._place = place
        self._lock = threading.RLock()  #: jobs go to other runs from the threads of those that had them
        self._runs: dict[str, Run] = {}
        self._of_key: dict[str, Run] = {}
        self._files: Sequence[Path] = ()
        self._works: set[str] = set()

    def use_sources(self, files: Sequence[Path]) -> None:
        """Ship these files with every job from now on. Raises StagingError or ServiceError."""
        self._files = files
        for run in self._runs.values():
            run.use_sources(files)

    def name(self, request: JobRequest, versions: list[str], is_cut_off: Callable[[str], bool]) -> JobRequest:
        """The request with the id of its task; its pool is opened by the first one. Raises AzureBatchError."""
        run = self._at(request)
        named = run.name(request, versions, is_cut_off)
        with self._lock:
            self._of_key[named.key] = run
        return named

    def keep_only(self, works: set[str]) -> None:
        """End tasks of an earlier run for jobs that are not among ``works``."""
        self._works = works
        for run in self._runs.values():
            run.keep_only(works)

    def settled(self, key: str, *, is_done: bool) -> None:
        """Snakemake has taken the end of this job: no later run is to look for its task."""
        with self._lock:
            run = self._of_key.pop(key, None)
        if run is not None:
            run.settled(key, is_done=is_done)

    def prepare(self, request: JobRequest) -> Move | None:
        """Open a pool without spot nodes for a job: one of the file that fits, else a twin of its own pool.

        None where its pool has no spot nodes. Raises AzureBatchError.
        """
        share = request.share
        if share is None or not self._several.has_spot(share.pool):
            return None
        try:
            placed = self._place(replace(request, resources={**request.resources, SPOT_RESOURCE: False}))
            moved = replace(placed, resources=request.resources)
        except AzureBatchError:
            moved = replace(request, share=replace(share, pool=self._several.twin(share.pool)))
        run = self._at(moved)

        def submit() -> None:
            with self._lock:
                self._of_key[request.key] = run
            run.submit([moved])

        return Move(run.pool_id, submit)

    def submit(self, requests: Sequence[JobRequest]) -> None:
        """Take jobs over that were named. Returns at once."""
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
            runs = list(self._runs.values())
        with DaemonPool(max(1, len(runs)), "azurebatch-cancel") as pool:
            return sum(pool.map(Run.cancel, runs))

    def close(self) -> None:
        """End the run, and all that was opened for it."""
        while (run := self._next()) is not None:
            run.close()
        self._several.close()

    def _next(self) -> Run | None:
        """One that is still open: the last moments of one may have opened another."""
        with self._lock:
            return self._runs.popitem()[1] if self._runs else None

    def _at(self, request: JobRequest) -> Run:
        share = request.share
        if share is None:
            raise LookupError(f"job {request.name} was not placed")
        with self._lock:
            if (run := self._runs.get(share.pool)) is None:
                run = self._make_run(self._several.session(share.pool, [share.slots]), self)
                self._runs[share.pool] = run
                run.use_sources(self._files)
                run.keep_only(self._works)
            return run
