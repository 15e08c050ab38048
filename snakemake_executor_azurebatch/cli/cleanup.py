"""``snakemake-azurebatch cleanup``: what earlier runs have left in the accounts."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import EXIT_FAILED, duration_s, err, fail, out

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.storage.blob import BlobServiceClient

    from snakemake_executor_azurebatch.run.inventory import FoundJob, FoundPool

EPILOG = (
    "Examples: `snakemake-azurebatch cleanup`, `snakemake-azurebatch cleanup --older-than 7d --yes`, "
    "`snakemake-azurebatch cleanup --blobs`, `snakemake-azurebatch cleanup --json`."
)
#: States of Batch jobs that no run can be in any more.
ENDED = ("completed", "deleting")
JOB, POOL, CONTAINER = "Batch job", "pool", "blob container"


@dataclass(frozen=True, slots=True)
class Left:
    """One thing that can go."""

    kind: str
    name: str
    created: str
    note: str = ""


def cleanup(  # noqa: PLR0913 (one parameter per option)
    workdir: account.Workdir = Path(),
    account_url: account.AccountUrl = None,
    storage_account: account.StorageAccount = None,
    profile: account.Profile = None,
    older_than: Annotated[str, typer.Option(help="Only what was made so long ago: 30m, 12h, 7d.")] = "1h",
    blobs: Annotated[bool, typer.Option("--blobs", help="The blob container too: the next run uploads again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; removes only with --yes.")] = False,
) -> None:
    """Remove what ended runs of this working directory have left: Batch jobs, pools, and with --blobs the blobs.

    Never touched: what the plugin has not made, or another working directory; Batch jobs that have not ended; pools
    that any Batch job that has not ended is on, or that a run leases; anything at all while a run may be alive here.
    Exit code 1: not all could be removed, or nobody has agreed.
    """
    from snakemake_executor_azurebatch import clients

    wanted = account.workdir_id(workdir)
    before = datetime.now(UTC) - timedelta(seconds=duration_s(older_than))
    _check_lock(workdir)
    accounts = account.find_accounts(account_url, storage_account, profile)
    with (
        account.told(),
        clients.batch_client(accounts.account) as client,
        clients.blob_service(accounts.storage) as service_client,
    ):
        mine = Mine(wanted, before)
        found = _in_batch(client, mine)
        if blobs:
            found += _in_storage(service_client, workdir, before)
        if as_json:
            typer.echo(json.dumps({"found": [asdict(one) for one in found], "removes": yes}, indent=2))
        else:
            _tell(found)
        if found and _agreed(yes, as_json):
            _remove_all(client, service_client, found, mine)


@dataclass(frozen=True, slots=True)
class Mine:
    """Whose things may go, and of what age."""

    workdir_id: str
    before: datetime

    def are(self, one: FoundJob | FoundPool) -> bool:
        """Whether this is one of them."""
        return one.workdir_id == self.workdir_id and one.created is not None and one.created <= self.before


def removable(
    jobs: list[FoundJob], pools: list[FoundPool], mine: Mine, now: datetime
) -> tuple[list[FoundJob], list[FoundPool]]:
    """What may go, of all Batch jobs of the account and of our pools (pure). Nothing of a workdir with a live run.

    A run leases its pool before it has its Batch job there, for which it may have to wait.
    """
    alive = [job for job in jobs if job.state not in ENDED]
    if any(job.workdir_id == mine.workdir_id for job in alive):
        return [], []
    in_use = {job.pool_id for job in alive}
    in_use |= {pool.pool_id for pool in pools if pool.leased_until(now)}
    gone_jobs = [job for job in jobs if job.is_ours and job.state == "completed" and mine.are(job)]
    gone_pools = [pool for pool in pools if pool.state == "active" and pool.pool_id not in in_use and mine.are(pool)]
    return gone_jobs, gone_pools


def _check_lock(workdir: Path) -> None:
    locks = workdir / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        fail("Snakemake has locked this directory: a run may be alive. If it is not: snakemake --unlock")


def _in_batch(client: BatchClient, mine: Mine) -> list[Left]:
    from snakemake_executor_azurebatch.run.inventory import all_jobs, our_pools

    jobs = all_jobs(client)
    pools, now = our_pools(client)
    alive = [job for job in jobs if job.state not in ENDED and job.workdir_id == mine.workdir_id]
    if alive:
        names = ", ".join(job.job_id for job in alive)
        fail(f"Nothing is removed: Batch job {names} of this directory has not ended. The next run goes on there.")
    for pool in pools:
        if mine.are(pool) and (until := pool.leased_until(now)):
            err.print(f"Pool {pool.pool_id} stays: a run leases it until {_iso(until)}.", markup=False)
    ended, unused = removable(jobs, pools, mine, now)
    return [
        *(Left(JOB, job.job_id, _iso(job.created)) for job in ended),
        *(Left(POOL, pool.pool_id, _iso(pool.created), f"{pool.nodes} nodes") for pool in unused),
    ]


def _in_storage(blobs: BlobServiceClient, workdir: Path, before: datetime) -> list[Left]:
    """The workdir's own blob container; one that the user has named is shared, and left alone."""
    from snakemake_executor_azurebatch.errors import NotFound, service
    from snakemake_executor_azurebatch.naming import container_name
    from snakemake_executor_azurebatch.staging.retention import WORKDIRS
    from snakemake_executor_azurebatch.staging.store import STORE_ID

    container = blobs.get_container_client(container_name(str(workdir.resolve())))
    try:
        with service(f"looking at blob container {container.container_name}"):
            found = container.get_container_properties(retry_total=2, retry_connect=2)
            marks = list(container.list_blobs(WORKDIRS))
    except NotFound:
        return []
    if STORE_ID not in (found.metadata or {}):
        return []
    if len(marks) > 1:
        err.print(f"Blob container {container.container_name} stays: {len(marks)} working directories use it.")
        return []
    last = max((mark.last_modified for mark in marks), default=found.last_modified)
    return [Left(CONTAINER, container.container_name, _iso(last), "last used then")] if last <= before else []


def _tell(found: list[Left]) -> None:
    for one in found:
        note = f"  ({one.note})" if one.note else ""
        out.print(f"{one.kind} {one.name}  {one.created}{note}", markup=False)
    if not found:
        out.print("Nothing is left that is old enough.")


def _agreed(yes: bool, as_json: bool) -> bool:
    if yes or as_json:
        return yes
    if not sys.stdin.isatty():
        fail("Nothing is removed: nobody can be asked here. To remove all this: --yes")
    if not typer.confirm("Remove all this?"):
        raise typer.Exit(EXIT_FAILED)
    return True


def _remove_all(client: BatchClient, blobs: BlobServiceClient, found: list[Left], mine: Mine) -> None:
    """Whatever was answered may have been answered late: a run that has begun since keeps all it has."""
    from snakemake_executor_azurebatch.errors import NotFound, ServiceError
    from snakemake_executor_azurebatch.run.inventory import all_jobs

    alive = [job for job in all_jobs(client) if job.state not in ENDED]
    if any(job.workdir_id == mine.workdir_id for job in alive):
        fail("Nothing is removed: a run has begun here in the meantime.")
    failed = 0
    for one in found:
        if one.kind == POOL and not _is_unused(client, one.name, mine):
            err.print(f"Pool {one.name} stays: it is in use now.", markup=False)
            continue
        try:
            _remove(client, blobs, one)
        except NotFound:
            continue
        except ServiceError as error:
            failed += 1
            err.print(str(error), markup=False)
    if failed:
        fail(f"{failed} of {len(found)} could not be removed.")
    err.print(f"Removed, or being removed: {len(found)}.")


def _is_unused(client: BatchClient, pool_id: str, mine: Mine) -> bool:
    """Looked at again: what was removed before may have taken a while."""
    from snakemake_executor_azurebatch.run.inventory import all_jobs, our_pools

    pools, now = our_pools(client)
    _, unused = removable(all_jobs(client), pools, mine, now)
    return pool_id not in {pool.pool_id for pool in pools if pool not in unused}


def _remove(client: BatchClient, blobs: BlobServiceClient, one: Left) -> None:
    from snakemake_executor_azurebatch.errors import service
    from snakemake_executor_azurebatch.run.batch_job import PATIENCE_S

    with service(f"removing {one.kind} {one.name}"):
        if one.kind == JOB:
            client.begin_delete_job(one.name, polling_interval=1).wait(PATIENCE_S)
        elif one.kind == POOL:
            client.begin_delete_pool(one.name, polling_interval=1).wait(PATIENCE_S)
        else:
            blobs.delete_container(one.name)


def _iso(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""
