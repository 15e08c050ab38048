"""One run: jobs in, successes and failures out. What ``executor`` talks to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from snakemake_executor_azurebatch.daemons import DaemonPool, within
from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import CacheLimits, CommitRecord, Sources
from snakemake_executor_azurebatch.run.adopt import Fate
from snakemake_executor_azurebatch.run.again import Again
from snakemake_executor_azurebatch.run.arrivals import Arrivals, Steps
from snakemake_executor_azurebatch.run.beginning import FirstUploads
from snakemake_executor_azurebatch.run.collection import create_all
from snakemake_executor_azurebatch.run.explain import Evidence, explain
from snakemake_executor_azurebatch.run.fingerprint import Context
from snakemake_executor_azurebatch.run.finish import Finisher
from snakemake_executor_azurebatch.run.judge import JOB_NOT_FOUND, TASK_NOT_FOUND, Cause, Failure, Sighting
from snakemake_executor_azurebatch.run.leasing import Farewell
from snakemake_executor_azurebatch.run.ledger import DONE, FAILED
from snakemake_executor_azurebatch.run.moving import Jobs, Move, Mover, ToDedicated
from snakemake_executor_azurebatch.run.oversee import ENDED_CODES, Limits, Looks, Overseer, Reactions
from snakemake_executor_azurebatch.run.patience import FIRST_PAUSE_S, OutOfPatience, Patience
from snakemake_executor_azurebatch.run.prepare import Preparer
from snakemake_executor_azurebatch.run.records import FILE, Common, Records
from snakemake_executor_azurebatch.run.reporting import Report, Reporter, Reports
from snakemake_executor_azurebatch.run.session import Place, Session
from snakemake_executor_azurebatch.run.submit import Submitter
from snakemake_executor_azurebatch.run.summary import part_of
from snakemake_executor_azurebatch.run.watch import Events, Sight, Watcher, count_in, look_at
from snakemake_executor_azurebatch.staging.archive import SourceArchive, stage_sources
from snakemake_executor_azurebatch.staging.provider import ProviderFiles
from snakemake_executor_azurebatch.staging.quick import Quick
from snakemake_executor_azurebatch.tasks import image_of, slots_of

FETCHERS = 16  #: files that come back at the same time

#: How long a cancelled run waits for what is under way, all in all: it may be requests to a service that hangs.
CANCEL_PATIENCE_S = 5.0

#: In looks at the tasks: the pause before a job is submitted again for the first time. Then twice as long, and so on.
AGAIN_LOOKS = 5

#: Tasks that were left on purpose go on so many times longer than those of a controller that was killed.
LEFT_TIMES_LONGER = 7


class Run:
    """Runs jobs on Azure Batch. ``submit`` returns at once; every job is reported exactly once."""

    def __init__(
        self,
        session: Session,
        place: Place,
        snakemake_version: str,
        reports: Reports,
        say: Callable[[str], None],
        to_dedicated: ToDedicated | None = None,
    ) -> None:
        """``to_dedicated``: takes a job over that has lost too many nodes; says where it goes, if anywhere."""
        start_folder = place.start_folder
        self._session = session
        self._say = say
        self._reports = reports
        self._lock = threading.Lock()
        self._jobs: dict[str, JobRequest] = {}
        moving = Jobs(self._jobs.get, self._hand_over)
        self._mover = Mover(to_dedicated, session.options.troubles.spot_preemptions, say, moving)
        self._cancelled = self._is_left = False
        self._farewell = Farewell(CANCEL_PATIENCE_S)
        self._over: Failure | None = None  #: why no job can end well any more
        interval_s, patience_s = session.options.poll_interval_s, session.options.troubles.service_patience_s
        self._batch = Patience("Azure Batch", patience_s, say, min(FIRST_PAUSE_S, interval_s))
        self._storage = Patience("Blob storage", patience_s, say, min(FIRST_PAUSE_S, interval_s))
        self._sources: Sources | None = None
        self._snakemake_version = snakemake_version
        session.store.quick = Quick(session.access.urls, session.store.stopping)
        self._prepare = Preparer(
            session.store,
            session.transfers,
            session.around,
            session.access,
            start_folder,
            snakemake_version,
            provider_files=ProviderFiles(place.storage_client),
            service_access=session.service_access,
            first_uploads=FirstUploads(lambda want: session.transfers.known(want) is not None, say),
            cache=CacheLimits(session.options.node_cache.min_free_bytes, session.options.node_cache.max_bytes),
        )
        self._records = Records(
            place.state_dir / FILE,
            Common(place.run_id, session.job.job_id, session.pool.pool_id, session.around.image),
            say,
        )
        self._finish = Finisher(
            session.store,
            session.index,
            start_folder,
            place.state_dir / "logs",
            reports.placed,
            lambda ended: reports.details(self._records.ended(ended)),
            self._storage,
            DaemonPool(FETCHERS, "azurebatch-fetch"),
        )
        self._again = Again(session.options.troubles.infrastructure_retries, AGAIN_LOOKS * interval_s)
        self._reporter = Reporter(self._report_all)
        self._arrivals = Arrivals(Steps(self._read_records, self._bring_back, self._reporter.came, self._together))
        self._watcher = Watcher(
            Sight(
                look_at(session.batch, session.job.job_id, self._jobs.__contains__),
                count_in(session.batch, session.job.job_id),
            ),
            interval_s,
            Events(self._completed, self._give_up, say),
            self._batch,
            Overseer(
                Looks(session.batch, session.job.job_id, session.in_use),
                Limits.of(interval_s, session.options.troubles.pool_patience_s),
                Reactions(say, self._give_up, self._gone, self._mover.requeued if self._mover.may_move else None),
            ),
        )
        self._submitter = Submitter(
            lambda tasks: create_all(session.batch, session.job.job_id, tasks, self._batch),
            lambda job: self._storage(lambda: self._prepare(job, self._sources)),
            self._not_submitted,
            self._watcher.created,
            self._prepare.together,
        )

    def use_sources(self, archive: SourceArchive) -> None:
        """Ship this with every job from now on. Raises StagingError or ServiceError."""
        self._sources = self._storage(lambda: stage_sources(self._session.store, archive))

    def name(self, request: JobRequest, versions: list[str], is_cut_off: Callable[[str], bool]) -> JobRequest:
        """The request with the id of its task, which may be left from an earlier run: see ``run.adopt``."""
        session, sources = self._session, self._sources
        context = Context(
            salt=session.adopter.ledger.salt,
            image=image_of(request, session.around),
            sources=sources.blob if sources is not None else "",
            snakemake_version=self._snakemake_version,
        )
        return session.adopter.name(request, context, versions, is_cut_off)

    def keep_only(self, works: set[str]) -> None:
        """End tasks of an earlier run for jobs that are not among ``works`` (as ``run.fingerprint`` spells them)."""
        self._session.adopter.keep_only(works)

    def settled(self, key: str, *, is_done: bool) -> None:
        """Snakemake has taken the end of this job: no later run is to look for its task."""
        # At once: what a later run takes for left keeps its blobs.
        self._session.adopter.ledger.ended([key], DONE if is_done else FAILED)

    def submit(self, requests: Sequence[JobRequest]) -> None:
        """Take jobs over, perhaps none. Returns at once."""
        if not requests:
            return
        with self._lock:
            self._jobs.update({request.key: request for request in requests})
        adopted = {request.key: left for request in requests if (left := self._session.adopter.take(request.key))}
        new = [request for request in requests if request.key not in adopted]
        self._session.in_use.wants.opened({one.key: slots_of(one, self._session.around) for one in requests})
        self._records.submitted([request.key for request in new])
        self._session.adopter.submitted(request.key for request in new)
        # Watched before they exist, so that not even the quickest task is missed.
        alive = [key for key, left in adopted.items() if left.fate is Fate.ALIVE]
        self._watcher.add([*alive, *(request.key for request in new)])
        self._watcher.created(alive)
        self._completed([left.sighting for left in adopted.values() if left.fate is not Fate.ALIVE])
        self._submitter.add(new)
        if self._over is not None:
            self._fail_all(self._over)
        if adopted:
            self._say(f"Went on with {len(adopted)} of {len(requests)} jobs where an earlier run has left them.")

    @property
    def is_sent(self) -> bool:
        """Whether everything that was taken over has been submitted, or could not be."""
        return self._submitter.is_idle

    def leave(self) -> float | None:
        """Report nothing from now on, and let the tasks go on when this closes; for how many seconds.

        None while files of completed tasks are under way. Raises ServiceError.
        """
        if not self._reporter.is_idle():
            return None
        lifetime_s = self._session.options.sas_lifetime_s * LEFT_TIMES_LONGER
        self._session.job.extend(lifetime_s)
        self._session.access.extend_for(lifetime_s)
        with self._lock:  # only now: where Azure refuses that, the run goes on as it was
            if not self._reporter.is_idle():
                return None
            self._is_left = True
        self._session.in_use.leave()
        return lifetime_s

    def cancel(self) -> int:
        """End all tasks, in one call, and report nothing from now on; how many jobs were not done.

        A service that hangs is not waited for longer than ``CANCEL_PATIENCE_S``.
        """
        with self._lock:
            if self._is_left:
                return 0
            self._cancelled = True
            count = len(self._jobs)
        is_deleting = self._session.options.delete_job
        self._session.adopter.begun.set()  # somebody wants the end of all that is there
        self._end_waits()
        self._session.in_use.hurry()
        self._session.store.abort()
        # First of all, since somebody who is impatient may interrupt again. ``close`` says what went wrong.
        with contextlib.suppress(ServiceError):
            within(self._farewell.left_s(), lambda: self._session.job.end(delete=is_deleting, patience_s=0))
        return count

    def close(self) -> None:
        """End the run. Returns when its threads have ended; a cancelled one does not wait long for them."""
        self._end_waits()
        self._mover.close()
        self._submitter.stop(self._farewell.left_s() if self._cancelled else None)
        self._watcher.stop(self._farewell.left_s() if self._cancelled else None)
        self._finish.pool.shutdown(wait=False)
        self._arrivals.close(wait=not self._cancelled)
        self._reporter.close(self._farewell.left_s() if self._cancelled else None)
        self._records.close()
        if not self._cancelled:
            self._reports.used(part_of(self._session, self._records, self._again.count))
        if not self._is_left:  # else nothing of it is ended, and the process ends soon
            self._session.close()

    def _end_waits(self) -> None:
        for waits in (self._again, self._batch, self._storage):
            waits.stop()

    def _completed(self, sightings: Sequence[Sighting]) -> None:
        with self._lock:
            if not sightings or self._cancelled or self._is_left:  # nobody would take them any more
                return
            self._reporter.coming(len(sightings))
        self._arrivals.add(sightings)
        for sighting in sightings:
            self._session.in_use.completed(sighting)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        with self._session.index.together(), self._records.together():
            yield

    def _read_records(self, keys: Iterable[str]) -> Mapping[str, CommitRecord]:
        with self._lock:
            requests = [request for key in keys if (request := self._jobs.get(key)) is not None]
        return self._finish.records(requests)

    def _bring_back(self, sighting: Sighting, record: CommitRecord | None) -> Report | None:
        with self._lock:
            request = self._jobs.get(sighting.task_id)
        if request is None:  # reported already
            return None
        try:
            if self._again.is_handled(sighting):
                self._watcher.add([request.key])
                return None
            return self._finish_or_repeat(request, sighting, record)
        except Exception as error:  # noqa: BLE001 (whatever it was: a job that nobody reports would never end)
            return request.key, explain(request.key, Failure(Cause.BRING_BACK, repr(error)), Evidence())

    def _finish_or_repeat(self, request: JobRequest, sighting: Sighting, record: CommitRecord | None) -> Report | None:
        """What is to be reported; None where there will be another try."""
        if sighting.requeues:
            times = "once" if sighting.requeues == 1 else f"{sighting.requeues} times"
            self._say(f"Azure Batch had to start task {request.key} again {times}: its node was lost or taken away.")
        finished = self._finish.bring_back(request, sighting, record, access=self._session.access)
        tries = self._again.tries(request.key)
        if finished.failure is not None and self._over is None:
            pause_s = self._again.take(sighting, finished.failure)
            if pause_s is not None:
                self._repeat(request, finished.failure, pause_s, len(tries) + 1)
                return None
        return request.key, self._finish.end(finished, tries)

    def _repeat(self, request: JobRequest, failure: Failure, pause_s: float, number: int) -> None:
        """Submit a job again after a pause. Told in one message."""
        node = f" (node {failure.node_id})" if failure.node_id else ""
        more = "".join(f"\n  {line}" for line in failure.detail.splitlines()[:3])
        times = self._session.options.troubles.infrastructure_retries
        self._say(
            f"Task {request.key}: {failure.cause.value}{node}. "
            f"Submitted again in {pause_s:.0f} s ({number} of at most {times} times).{more}"
        )
        self._again.later(request.key, pause_s, lambda: self._submit_again(request, failure))

    def _submit_again(self, request: JobRequest, failure: Failure) -> None:
        session = self._session
        try:
            if failure.cause is Cause.ACCESS_EXPIRED:
                self._storage(session.access.extend)
            self._batch(lambda: session.job.delete_task(request.key))
            self._finish.forget(request)
        except Exception as error:  # noqa: BLE001 (whatever it was: a job that nobody reports would never end)
            self._not_submitted(request, error)
            return
        session.adopter.submitted([request.key])  # what was taken over may have been in another Batch job
        session.in_use.wants.opened({request.key: slots_of(request, session.around)})
        self._watcher.add([request.key])
        self._submitter.add([request])
        if self._over is not None:  # given up meanwhile, when the job was neither watched nor waited
            self._fail_all(self._over)

    def _not_submitted(self, request: JobRequest, error: Exception) -> None:
        self._watcher.discard(request.key)
        failure = Failure(Cause.NOT_SUBMITTED, str(error))
        if isinstance(error, OutOfPatience):
            failure = error.failure
        elif isinstance(error, ServiceError) and error.code in ENDED_CODES:
            failure = Failure(Cause.JOB_GONE, str(error))
        self._report(request.key, explain(request.key, failure, Evidence(), self._again.tries(request.key)))
        if failure.cause is Cause.JOB_GONE:
            self._give_up(failure)

    def _gone(self, keys: Iterable[str]) -> None:
        """Tasks were deleted by somebody else. What they left counts nevertheless."""
        self._completed([Sighting(key, None, TASK_NOT_FOUND) for key in keys if self._watcher.discard(key)])

    def _hand_over(self, request: JobRequest, move: Move, count: int) -> None:
        """A job that has lost too many nodes goes to dedicated ones; none of the user's retries is spent for that."""
        key = request.key
        if not self._watcher.discard(key):  # it is being reported
            return
        try:
            self._batch(lambda: self._session.job.delete_task(key))
            self._finish.forget(request)
            self._say(
                f"Task {key} has lost {count} nodes (taken away by Azure, or gone): it goes to dedicated nodes, "
                f"pool {move.pool_id}."
            )
            move.submit()
        except Exception as error:  # noqa: BLE001 (whatever it was: a job that nobody reports would never end)
            self._not_submitted(request, error)
            return
        self._session.in_use.wants.closed([key])
        with self._lock:
            self._jobs.pop(key, None)

    @property
    def pool_id(self) -> str:
        """Of the pool that it runs on now."""
        return self._session.in_use.pool_id

    def _give_up(self, failure: Failure) -> None:
        """No job can end well any more."""
        with self._lock:
            if self._over is not None or self._cancelled:
                return
            self._over = failure
        more = "".join(f"\n  {line}" for line in failure.detail.splitlines())
        self._say(f"All jobs are given up: {failure.cause.value}.{more}")
        self._fail_all(failure)

    def _fail_all(self, failure: Failure) -> None:
        with self._lock:
            keys = list(self._jobs)
        for key in keys:
            # What is neither watched nor waits for another try is being brought back: that reports it.
            if not self._watcher.discard(key) and not self._again.cancel(key):
                continue
            if failure.cause is Cause.JOB_GONE:  # what its task has left by then counts
                self._completed([Sighting(key, None, JOB_NOT_FOUND, failure.detail)])
            else:
                self._report(key, explain(key, failure, Evidence(), self._again.tries(key)))

    def _report_all(self, some: Sequence[Report]) -> None:
        with self._reports.burst():
            for key, failure in some:
                self._report(key, failure)

    def _report(self, key: str, failure: str | None) -> None:
        if not self._done(key):
            return
        self._records.reported(is_done=failure is None)
        try:
            if failure is None:
                self._reports.succeeded(key)
            else:
                self._reports.failed(key, failure)
        except Exception as error:  # noqa: BLE001 (one job's trouble is not to be the others')
            self._say(f"While task {key} was reported: {error!r}")

    def _done(self, key: str) -> bool:
        """Whether this job is to be reported: it was not yet, and the run was not cancelled."""
        self._session.in_use.wants.closed([key])
        with self._lock:
            return self._jobs.pop(key, None) is not None and not self._cancelled and not self._is_left
