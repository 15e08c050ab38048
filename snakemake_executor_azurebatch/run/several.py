"""A run on the pools of ``pools.yaml``: one session for each pool that a job needs, all on the same grounds.

Azure Batch ties a job to one pool (source: Azure Batch documentation, "poolInfo"), so that there are as many Batch
jobs as pools are used. With those of an earlier run that was killed, this one goes on, pool by pool, as jobs come.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from snakemake_executor_azurebatch import tasks
from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.options import Options
from snakemake_executor_azurebatch.pools.choose import Capacity
from snakemake_executor_azurebatch.pools.config import Pools
from snakemake_executor_azurebatch.pools.ensure import Pool
from snakemake_executor_azurebatch.run.access import TaskAccess, environment
from snakemake_executor_azurebatch.run.adopt import Adopter, Leftovers, look_at_left, record_reader
from snakemake_executor_azurebatch.run.batch_job import BatchJob, end_leftovers
from snakemake_executor_azurebatch.run.beginning import on_what
from snakemake_executor_azurebatch.run.keeper import Keeper
from snakemake_executor_azurebatch.run.lease_of_run import PoolLease
from snakemake_executor_azurebatch.run.ledger import BatchJobEntry
from snakemake_executor_azurebatch.run.oversee import ENDED_CODES
from snakemake_executor_azurebatch.run.patience import Patience
from snakemake_executor_azurebatch.run.pool_sources import FromFile
from snakemake_executor_azurebatch.run.quota import when_there_is_room
from snakemake_executor_azurebatch.run.session import Grounds, Place, Say, Session, open_grounds

Step = Callable[[], None]


class Several:
    """Usable from any thread, but each pool is to be opened by one at a time."""

    def __init__(self, grounds: Grounds, source: FromFile, opening: ExitStack) -> None:
        self._grounds = grounds
        self._source = source
        self._jobs: list[BatchJob] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._expected: Mapping[str, Sequence[int]] = {}
        self._left = self._take_left_jobs()
        self._grant_id = self._grant_of_left() or uuid.uuid4().hex
        grounds.tidying.further_job_ids.update(job.job_id for job in self._left.values())
        parting = grounds.parting(is_left=bool(self._left))
        parting.at_end(opening, self._end_unused)
        grant = grounds.grant(self._grant_id)
        parting.at_end(opening, grant.revoke)
        self._variables = environment(grant.access)
        # Batch jobs of a killed run have the access of that time, so that each task has to bring its own.
        self._access = TaskAccess(grant, grounds.upload_stager(), is_in_job=not self._left)
        self._extend()
        self._pool_of = {job.job_id: pool_id for pool_id, job in self._left.items()}
        self._leftovers = self._look_at_left()
        opening.callback(Keeper(grounds.keep_every_s, (self._access.extend, self._extend), grounds.say).stop)
        grounds.tidying.armed = True
        self._opening = opening
        self._is_told = False  #: where the run is

    @property
    def image(self) -> str:
        """What jobs run in that name no other image."""
        return self._grounds.place.image

    def capacities(self) -> Sequence[Capacity]:
        """What there is to choose from. Raises AzureBatchError, naming all pools that cannot be used."""
        return self._source.capacities()

    def expect(self, slots: Mapping[str, Sequence[int]]) -> None:
        """These tasks will come to these pools, as far as that is known before the first one."""
        self._expected = slots

    def session(self, name: str, slots: Sequence[int], *, waits: bool = True) -> Session:
        """A session on a pool, which is found or made; its ``close`` ends its Batch job. Raises AzureBatchError.

        ``waits``: where Azure does not answer, or has no room for the Batch job, until ``cancel``; for an answer only
        once there was one, since what is wrong at the start of a run is to be told at once.
        """
        grounds, options = self._grounds, self._grounds.options
        limit_s = options.troubles.service_patience_s if waits else 0.0
        patience = Patience("Azure Batch", limit_s, grounds.say, stopping=self._stopping)
        with ExitStack() as opening:
            lessee, source = grounds.lessee(), self._source

            def find() -> tuple[Pool, PoolLease | None]:
                return source.open(name, self._expected.get(name) or slots, lessee)

            pool, lease = patience(find) if waits and self._is_told else find()
            job, is_left = self._job(pool.pool_id, opening, patience if waits else _at_once)
            parting = grounds.parting(is_left=is_left)
            if options.pool.delete:
                parting.at_end(opening, lambda: source.delete(name))
            in_use = grounds.use(pool, lease, opening, lambda: source.open_next(name, slots, lessee))
            opening.push(lambda error, *_: in_use.hurry() if error is not None else None)
            in_use.batch_job_id = job.job_id
            parting.at_end(opening, lambda: job.end(delete=options.delete_job))
            grounds.tidying.further_job_ids.add(job.job_id)
            if not is_left:
                grounds.ledger.add_batch_job(BatchJobEntry(job.job_id, grounds.address, self._grant_id))
                create = partial(job.create, pool.pool_id, self._variables, grounds.metadata)
                patiently = partial(patience, create) if waits else create
                when_there_is_room(patiently, grounds.say, limit_s, self._stopping)
            with self._lock:
                self._jobs.append(job)
            begun = on_what(job.job_id, pool, in_use.bounds, is_left=is_left)
            grounds.say(begun if self._is_told else f"{grounds.where(self.image)}\n{begun}")
            self._is_told = True
            around = tasks.Surroundings(
                image=self.image,
                slots_per_node=pool.slots_per_node,
                stager_url=self._access.stager_url,
                is_elevated=options.run_elevated,
                keep_files=options.keep_task_files,
            )
            adopter = Adopter(grounds.batch, grounds.ledger, job.job_id, self._leftovers, grounds.say, grounds.begun)
            return Session(
                *(options, grounds.batch, grounds.store, grounds.index, grounds.transfers, pool, job, around),
                *(self._access, grounds.by_batch(), adopter, in_use, opening.pop_all()),
            )

    def has_spot(self, name: str) -> bool:
        """Whether nodes of this pool can be taken away."""
        return self._source.has_spot(name)

    def twin(self, name: str) -> str:
        """Name of a pool like this one, of dedicated nodes only."""
        return self._source.twin(name)

    def cancel(self) -> None:
        """Wait for nothing any more, and spare nothing that an earlier run has left: somebody wants the end of all."""
        self._stopping.set()
        self._grounds.begun.set()

    def pool_id(self, request: JobRequest) -> str:
        """Of the pool that a job was placed on."""
        return self._source.pool_id(request.share.pool) if request.share is not None else ""

    def where_left(self, work: str) -> str | None:
        """Id of the pool where a task of an earlier run for exactly this work waits or runs; None: there is none."""
        job_id = self._leftovers.where(work)
        return self._pool_of.get(job_id) if job_id is not None else None

    def close(self) -> None:
        """End what is left when all sessions are closed. Never raises for Azure."""
        self._opening.close()

    def _take_left_jobs(self) -> dict[str, BatchJob]:
        """The Batch jobs of a killed run that this one can go on with, by their pools; all others are ended.

        Those that the ledger knows, with one grant, whose tasks can still reach the blob container.
        """
        grounds = self._grounds
        found = grounds.left_jobs()
        taken: dict[str, BatchJob] = {}
        others = []
        grants: set[str] = set()
        for job in found:
            known = grounds.ledger.batch_job(job.job_id)
            fits = job.pool_id in self._source.pool_ids() and job.pool_id not in taken
            if fits and known is not None and known.store_url == grounds.address and {known.grant_id} >= grants:
                lifetime_s = grounds.options.sas_lifetime_s
                taken[job.pool_id] = BatchJob(grounds.batch, job.job_id, lifetime_s, job.created)
                grants = {known.grant_id}
            else:
                others.append(job)
        end_leftovers(grounds.batch, others)
        for job in others:
            grounds.say(f"Ended Batch job {job.job_id}, which a run that was killed has left.")
        return taken

    def _grant_of_left(self) -> str:
        """What names the access of the tasks that are left; empty where none are."""
        known = [self._grounds.ledger.batch_job(job.job_id) for job in self._left.values()]
        return next((entry.grant_id for entry in known if entry is not None), "")

    def _job(self, pool_id: str, opening: ExitStack, call: Callable[[Step], None]) -> tuple[BatchJob, bool]:
        """The Batch job on a pool, and whether it is that of a killed run; of one that has ended meanwhile it is not.

        Where ``opening`` comes to nothing, that is there for the next try. Raises ServiceError.
        """
        grounds = self._grounds
        with self._lock:
            left = self._left.pop(pool_id, None)

        def put_back(error: type[BaseException] | None, *_: object) -> None:
            if error is not None and left is not None:
                with self._lock:
                    self._left[pool_id] = left

        if left is not None:
            with ExitStack() as trying:
                trying.push(put_back)
                if _is_extended(left, call):
                    opening.push(put_back)
                    return left, True
        return BatchJob(grounds.batch, grounds.new_job_id(), grounds.options.sas_lifetime_s), False

    def _end_unused(self) -> None:
        """End what an earlier run has left on pools that no job of this one came to."""
        for job in self._left.values():
            self._grounds.attempt(partial(job.end, delete=False, patience_s=0))

    def _look_at_left(self) -> Leftovers:
        """What has become of the tasks of earlier runs. Rows of those that came to nothing are closed."""
        grounds = self._grounds
        own = {job.job_id for job in self._left.values()}
        leftovers = Leftovers(
            grounds.ledger, look_at_left(grounds.batch, grounds.left_tasks(), own, record_reader(grounds.store))
        )
        if told := leftovers.summary():
            grounds.say(told)
        return leftovers

    def _extend(self) -> None:
        with self._lock:
            jobs = [*self._jobs, *self._left.values()]
        extend_all(jobs)


def _at_once(step: Step) -> None:
    step()


def _is_extended(job: BatchJob, call: Callable[[Step], None]) -> bool:
    """Whether it goes on; not where it has ended. Raises ServiceError."""
    try:
        call(job.extend)
    except ServiceError as error:
        if error.code not in ENDED_CODES:
            raise
        return False
    return True


def extend_all(jobs: Iterable[BatchJob]) -> None:
    """Extend each, whatever becomes of the others. Raises the first ServiceError, but for jobs that are over."""
    failed: list[ServiceError] = []
    for job in jobs:
        try:
            job.extend()
        except ServiceError as error:
            if error.code not in ENDED_CODES:
                failed.append(error)
    if failed:
        raise failed[0]


def open_several(options: Options, place: Place, say: Say, pools: Pools) -> Several:
    """Open the grounds, or nothing; of the pools none yet. Raises AzureBatchError with what is wrong."""
    with ExitStack() as opening:
        grounds = open_grounds(options, place, say, opening)
        images = list(dict.fromkeys((place.image, *place.rule_images)))
        source = FromFile(grounds.batch, pools, images, grounds.metadata, say, resource=grounds.account.resource)
        several = Several(grounds, source, opening)
        several._opening = opening.pop_all()  # noqa: SLF001 (its own module)
        return several
