"""What one run has open: the local service if it uses one, clients, blob container, pool, Batch job."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch import clients, naming, tasks
from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.options import Account, Options, Storage
from snakemake_executor_azurebatch.pools.ensure import Pool
from snakemake_executor_azurebatch.pools.spec import PoolSpec
from snakemake_executor_azurebatch.run.access import TaskAccess, environment
from snakemake_executor_azurebatch.run.adopt import Adopter, Leftovers, look_at_left, record_reader
from snakemake_executor_azurebatch.run.batch_job import PATIENCE_S, BatchJob, LeftJob, end_leftovers, find_leftovers
from snakemake_executor_azurebatch.run.beginning import on_what, where
from snakemake_executor_azurebatch.run.claims import BEAT_S, Claims
from snakemake_executor_azurebatch.run.confinement import is_local
from snakemake_executor_azurebatch.run.keeper import Keeper
from snakemake_executor_azurebatch.run.lease_of_run import Lessee, PoolLease, name_of_line
from snakemake_executor_azurebatch.run.leasing import Farewell
from snakemake_executor_azurebatch.run.ledger import FILE as LEDGER
from snakemake_executor_azurebatch.run.ledger import BatchJobEntry, Entry, Ledger
from snakemake_executor_azurebatch.run.local_service import use_local_service
from snakemake_executor_azurebatch.run.marks import OF_WORKDIR, OWNER, metadata_of
from snakemake_executor_azurebatch.run.one_pool import open_pool
from snakemake_executor_azurebatch.run.parting import Parting
from snakemake_executor_azurebatch.run.pool_in_use import PoolInUse, Successor, no_successor
from snakemake_executor_azurebatch.run.quota import when_there_is_room
from snakemake_executor_azurebatch.run.tidy import WORKDIR_ID, Tidying
from snakemake_executor_azurebatch.staging import home
from snakemake_executor_azurebatch.staging.bundle import build_stager, stager_digest
from snakemake_executor_azurebatch.staging.bybatch import ServiceAccess
from snakemake_executor_azurebatch.staging.grants import Grant, grant_access
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.progress import Progress
from snakemake_executor_azurebatch.staging.sas import LONGEST_DELEGATION, READ_AND_LIST, blob_read_url, make_access
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.storage.blob import BlobServiceClient, ContainerClient

Say = Callable[[str], None]

#: How long nodes may fetch the stager, which is no secret: as long as a task may live (source: Azure Batch limits).
LONGEST_RUN_S = 180 * 24 * 3600.0

#: The claim of the run that has the lines of leases which the runs of a workdir inherit.
LINES = "lines"


def no_storage(provider: str) -> BlobServiceClient:
    """For a workflow without storage providers."""
    raise LookupError(provider)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens."""

    start_folder: Path  #: where ``snakemake`` was started
    state_dir: Path  #: ``.snakemake/azurebatch`` of the workdir
    image: str  #: container image of the tasks
    rule_images: tuple[str, ...] = ()  #: of rules that name one; new pools fetch them beforehand
    run_id: str = ""  #: names this run in records
    is_locked: bool = True  #: by Snakemake, so that what dead runs have left may be taken over
    first_slots: tuple[int, ...] = ()  #: of the jobs that are ready first
    #: the client of a storage provider whose files the stager moves, by the provider's name or tag
    storage_client: Callable[[str], BlobServiceClient] = field(default=no_storage)


@dataclass(frozen=True, slots=True)
class Session:
    """An open session. ``close`` ends the Batch job, and all that was started for this run."""

    options: Options
    batch: BatchClient
    store: BlobStore
    index: Index
    transfers: Transfers
    pool: Pool
    job: BatchJob
    around: tasks.Surroundings
    access: TaskAccess
    service_access: ServiceAccess  #: what Azure Batch itself uses
    adopter: Adopter
    in_use: PoolInUse  #: ``pool``, until its jobs have to go to another
    _open: ExitStack

    def close(self) -> None:
        """End what is the run's: Batch job, pool where asked for, clients, local service. Never raises for Azure."""
        self._open.close()


@dataclass(frozen=True, slots=True)
class Grounds:
    """What is open whatever the pools are."""

    options: Options
    place: Place
    say: Say
    batch: BatchClient
    blobs: BlobServiceClient
    storage: Storage
    store: BlobStore
    index: Index
    ledger: Ledger
    transfers: Transfers
    tidying: Tidying
    metadata: dict[str, str]
    account: Account
    claims: Claims
    farewell: Farewell = field(default_factory=Farewell)
    begun: threading.Event = field(default_factory=threading.Event)  #: a job was submitted or taken over

    def where(self, image: str | None) -> str:
        """For the screen."""
        return where(self.account.url, self.store.container.container_name, image)

    @property
    def address(self) -> str:
        """Of the blob container."""
        return _address(self.store)

    @property
    def keep_every_s(self) -> float:
        """How often what has an end of its own is to be extended."""
        return min(self.options.sas_lifetime_s, LONGEST_DELEGATION.total_seconds()) / 4

    def lessee(self) -> Lessee:
        """This run, as one that leases pools."""
        place, options = self.place, self.options
        is_heir = place.is_locked and self.claims.take(LINES)
        line = name_of_line(self.metadata[WORKDIR_ID], place.run_id, is_heir=is_heir)
        costs = options.account is not None and not is_local(options.account.url)
        is_patient = not options.pool.delete
        return Lessee(self.batch, line, self.say, gives_back=costs, is_patient=is_patient, farewell=self.farewell)

    def use(
        self, pool: Pool, lease: PoolLease | None, opening: ExitStack, successor: Successor = no_successor
    ) -> PoolInUse:
        """Keep the lease until ``opening`` closes."""
        in_use = PoolInUse(self.batch, pool, lease, successor)
        opening.callback(self.attempt, in_use.stop)
        return in_use

    def grant(self, grant_id: str) -> Grant:
        """Access to the blob container for tasks. Raises ServiceError."""
        return _grant(self.blobs, self.store.container, self.storage, self.options, grant_id)

    def upload_stager(self) -> Callable[[], str]:
        """Put the stager where nodes get it; what makes URLs for it. Raises ServiceError."""
        stager = _upload_stager(self.store)
        return lambda: _read_url(self.store, stager, self.blobs, self.storage)

    def new_job_id(self) -> str:
        """For one more Batch job of this run, and claimed by it."""
        job_id = _job_id(self.place)
        self.claims.take(job_id)
        return job_id

    def left_jobs(self) -> list[LeftJob]:
        """The active Batch jobs that dead runs have left, youngest first, for this run now. Raises ServiceError."""
        if not self.place.is_locked:
            return []
        return find_leftovers(self.batch, {key: self.metadata[key] for key in OF_WORKDIR}, self.claims.take)

    def left_tasks(self) -> list[Entry]:
        """The tasks of dead runs whose end nobody has noted."""
        if not self.place.is_locked:
            return []
        return [entry for entry in self.ledger.open_tasks() if self.claims.take(entry.batch_job_id)]

    def by_batch(self) -> ServiceAccess:
        """Access of Azure Batch itself."""
        signing = _signing(self.blobs, self.storage)
        return ServiceAccess(
            lambda lifetime_s: make_access(self.store.container, lifetime_s, read=READ_AND_LIST, **signing)
        )

    def parting(self, *, is_left: bool) -> Parting:
        """What ends things of this run. No blobs are removed after something was spared: its tasks have some."""
        return Parting(self.attempt, self.begun, partial(setattr, self.tidying, "armed", False), is_left=is_left)

    def attempt(self, step: Callable[[], None]) -> None:
        """A step of cleaning up: what cannot be done is told, and the next steps are still taken."""
        _attempt(step, self.say)


def open_grounds(options: Options, place: Place, say: Say, opening: ExitStack) -> Grounds:
    """Open what is needed whatever the pools are; ``opening`` closes it. Raises AzureBatchError with what is wrong."""
    claims = Claims(place.state_dir / "claims", say)
    opening.callback(claims.close)
    claims.enter(place.run_id, takes_over=place.is_locked)
    opening.callback(Keeper(BEAT_S, (claims.beat,), say).stop)
    account, storage = _accounts(options, place, say, opening)
    batch = opening.enter_context(clients.batch_client(account))
    blobs = opening.enter_context(clients.blob_service(storage))
    metadata = metadata_of(place.start_folder, place.state_dir)
    name = options.blob_container or naming.container_name(str(place.start_folder))
    store = BlobStore(
        blobs.get_container_client(name),
        progress=Progress(say if sys.stderr.isatty() else _nothing),
        prefix=home.prefix_of(str(place.start_folder), options.blob_container),
        owner=metadata[OWNER],
    )
    opening.callback(store.close)
    store_id = naming.short_hash(store.ensure(), home.register(store))
    index = Index(place.state_dir / "index.sqlite", store_id)
    opening.callback(index.close)
    ledger = Ledger(place.state_dir / LEDGER, store_id, say)
    opening.callback(ledger.close)
    transfers = Transfers(store, index)
    opening.callback(transfers.close)
    tidying = Tidying(
        *(batch, store, index, transfers, say),
        keep_s=options.keep_blobs_s,
        workdir_id=metadata[WORKDIR_ID],
        own_job_id="",
        ledger=ledger,
        is_locked=place.is_locked,
        alone=claims.alone,
        looked_file=place.state_dir / "looked",
    )
    opening.callback(tidying)
    return Grounds(
        *(options, place, say, batch, blobs, storage, store, index, ledger, transfers, tidying, metadata, account),
        claims,
    )


def open_session(options: Options, place: Place, say: Say) -> Session:
    """Open all of it, or nothing. Raises AzureBatchError with what is wrong."""
    with ExitStack() as opening:
        grounds = open_grounds(options, place, say, opening)
        batch, blobs, storage, store = grounds.batch, grounds.blobs, grounds.storage, grounds.store
        index, ledger, transfers, tidying = grounds.index, grounds.ledger, grounds.transfers, grounds.tidying
        metadata = grounds.metadata
        spec = PoolSpec(options.pool, place.image, place.rule_images)
        pool, lease = open_pool(spec, place.first_slots, grounds.lessee(), metadata)
        parting = grounds.parting(is_left=not pool.created)  # until it is known
        if options.pool.delete:
            parting.at_end(opening, lambda: _delete_pool(batch, pool.pool_id))
        in_use = grounds.use(pool, lease, opening)
        left = _left_job(grounds, pool.pool_id)
        parting.is_left = left is not None
        job, grant_id = _job(grounds, left)
        tidying.own_job_id = in_use.batch_job_id = job.job_id
        grant = _grant(blobs, store.container, storage, options, grant_id)
        parting.at_end(opening, grant.revoke)
        parting.at_end(opening, lambda: job.end(delete=options.delete_job))
        stager = _upload_stager(store)
        access = TaskAccess(grant, lambda: _read_url(store, stager, blobs, storage), is_in_job=left is None)
        if left is None:
            ledger.add_batch_job(BatchJobEntry(job.job_id, _address(store), grant_id))
            variables = environment(grant.access)
            when_there_is_room(
                lambda: job.create(pool.pool_id, variables, metadata), say, options.troubles.service_patience_s
            )
        else:
            job.extend()
        found = Leftovers(ledger, look_at_left(batch, grounds.left_tasks(), {job.job_id}, record_reader(store)))
        adopter = Adopter(batch, ledger, job.job_id, found, say, grounds.begun)
        if told := found.summary():
            say(told)
        opening.callback(Keeper(grounds.keep_every_s, (access.extend, job.extend), say).stop)
        around = tasks.Surroundings(
            image=place.image if pool.has_containers else None,
            slots_per_node=pool.slots_per_node,
            stager_url=access.stager_url,
            is_elevated=options.run_elevated,
            keep_files=options.keep_task_files,
        )
        begun = on_what(job.job_id, pool, in_use.bounds, is_left=left is not None)
        say(f"{grounds.where(around.image)}\n{begun}")
        tidying.armed = True
        return Session(
            *(options, batch, store, index, transfers, pool, job, around, access, grounds.by_batch(), adopter, in_use),
            opening.pop_all(),
        )


def _nothing(_: str) -> None:
    """Where nobody looks on, progress is noise."""


def _accounts(options: Options, place: Place, say: Say, opening: ExitStack) -> tuple[Account, Storage]:
    if options.account is not None and options.storage is not None:
        return options.account, options.storage
    local = use_local_service(place.state_dir / "emulator", say)
    opening.callback(local.stop)
    return local.account, local.storage


def _left_job(grounds: Grounds, pool_id: str) -> LeftJob | None:
    """The Batch job of a dead run that this one goes on with; all others are ended.

    One that the ledger knows, on the same pool, whose tasks can still reach the blob container.
    """

    def fits(job: LeftJob) -> bool:
        known = grounds.ledger.batch_job(job.job_id)
        return job.pool_id == pool_id and known is not None and known.store_url == grounds.address

    left = grounds.left_jobs()
    chosen = next(filter(fits, left), None)
    others = [job for job in left if job is not chosen]
    end_leftovers(grounds.batch, others)
    for job in others:
        grounds.say(f"Ended Batch job {job.job_id}, which a run that was killed has left.")
    return chosen


def _job(grounds: Grounds, left: LeftJob | None) -> tuple[BatchJob, str]:
    """The Batch job of this run, and what names its tasks' access."""
    batch, lifetime_s = grounds.batch, grounds.options.sas_lifetime_s
    known = grounds.ledger.batch_job(left.job_id) if left is not None else None
    if left is None or known is None:
        return BatchJob(batch, grounds.new_job_id(), lifetime_s), uuid.uuid4().hex
    return BatchJob(batch, left.job_id, lifetime_s, left.created), known.grant_id


def _address(store: BlobStore) -> str:
    return str(store.container.url).partition("?")[0]


def _grant(
    blobs: BlobServiceClient, container: ContainerClient, storage: Storage, options: Options, grant_id: str
) -> Grant:
    return grant_access(container, grant_id, options.sas_lifetime_s, **_signing(blobs, storage))


def _signing(blobs: BlobServiceClient, storage: Storage) -> dict[str, Any]:
    return {"account_key": storage.key} if storage.key is not None else {"delegation": blobs}


def _job_id(place: Place) -> str:
    return naming.batch_id(f"smk-{place.start_folder.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}", uuid.uuid4().hex)


def _upload_stager(store: BlobStore) -> str:
    """The blob that a node gets the stager from."""
    data = build_stager()
    blob = f"{store.prefix}runtime/{stager_digest(data)}/{tasks.STAGER_FILE}"
    store.upload_bytes(blob, data)
    return blob


def _read_url(store: BlobStore, blob: str, blobs: BlobServiceClient, storage: Storage) -> str:
    """A URL for this blob alone."""
    return blob_read_url(store.container, blob, LONGEST_RUN_S, **_signing(blobs, storage))


def _delete_pool(batch: BatchClient, pool_id: str) -> None:
    with service(f"deleting pool {pool_id}"):
        batch.begin_delete_pool(pool_id, polling_interval=1).wait(PATIENCE_S)


def _attempt(step: Callable[[], None], say: Say) -> None:
    """A step of cleaning up: what cannot be done is told, and the next steps are still taken."""
    try:
        step()
    except ServiceError as error:
        if error.code not in ("PoolNotFound", "PoolBeingDeleted"):
            say(f"While cleaning up: {error}")
