"""All that is looked at, in an order in which a failure explains those that would follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.doctor import batch, clock, here, image, pools, storage
from snakemake_executor_azurebatch.doctor.findings import Finding, Verdict, failed, skipped
from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.options import Account, Options, Storage

if TYPE_CHECKING:
    from azure.batch import BatchClient


@dataclass(frozen=True, slots=True)
class Visit:
    """What a run would have."""

    options: Options
    account: Account
    storage: Storage
    image: str
    jobs: object  #: as it stands in the profile; None: nowhere
    workdir: Path
    folder: Path  #: which the path of pools.yaml is relative to


def examine(visit: Visit) -> Iterator[Finding]:
    """Findings as they are made: what is near comes first, and what needs an answer after that."""
    options = visit.options
    wanted, catalogue, told = pools.wanted_pools(options, visit.image, visit.folder)
    yield here.check_versions()
    yield from told
    yield from pools.check_sizes(wanted, catalogue)
    yield here.check_jobs(visit.jobs, wanted)
    yield from image.check_image(visit.image, options.pool, has_pools_file=options.pools_file is not None)
    yield from pools.check_sign_in(wanted, options.pools_file or "")
    yield clock.check_clock(visit.account.url)
    yield from _batch(visit, wanted)
    yield from _storage(visit)


def _batch(visit: Visit, wanted: list[pools.Wanted]) -> Iterator[Finding]:
    account = visit.account
    credential = None if account.key else clients.signed_in()
    sign_in = batch.check_sign_in("Batch", account.key, credential)
    yield sign_in
    if sign_in.verdict is Verdict.FAIL:
        yield skipped("Batch account", "nobody is signed in")
        return
    with clients.batch_client(account) as client:
        first = batch.check_account(client, account)
        yield first
        if first.verdict is Verdict.FAIL:
            yield skipped("rights, pools, machine images", "the Batch account does not answer")
            return
        yield batch.check_rights(client, account)
        yield from _machine_images(client, wanted)
        yield from pools.check_there(client, wanted, account)


def _machine_images(client: BatchClient, wanted: list[pools.Wanted]) -> Iterator[Finding]:
    try:
        supported = pools.supported_images(client)
    except ServiceError as error:
        yield failed("machine images", str(error), "snakemake-azurebatch doctor   # again, later")
        return
    yield from pools.check_images(wanted, supported, pools.now_utc())


def _storage(visit: Visit) -> Iterator[Finding]:
    credential = None if visit.storage.key else clients.signed_in()
    sign_in = batch.check_sign_in("storage", visit.storage.key, credential)
    yield sign_in
    if sign_in.verdict is Verdict.FAIL:
        yield skipped(storage.ABOUT, "nobody is signed in")
        return
    name = visit.options.blob_container or container_name(str(visit.workdir.resolve()))
    with clients.blob_service(visit.storage) as blobs:
        yield from storage.check_storage(blobs, visit.storage, name)
