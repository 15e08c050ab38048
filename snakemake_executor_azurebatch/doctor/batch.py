"""The Batch account: does it answer, and may we? By calls that leave nothing behind."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.clients import FIRST_CALL
from snakemake_executor_azurebatch.doctor import mends
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, skipped, warned
from snakemake_executor_azurebatch.errors import AccessRefused, ServiceError, ServiceUnreachable, service
from snakemake_executor_azurebatch.options import Account

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.core.credentials import TokenCredential

#: source: azure-batch and azure-storage-blob, what they ask a token for.
SCOPES = {"Batch": "https://batch.core.windows.net//.default", "storage": "https://storage.azure.com/.default"}
PROBE = "smk-doctor"
QUOTA_CODES = ("ActiveJobAndScheduleQuotaReached",)


def check_sign_in(which: str, key: str | None, credential: TokenCredential | None) -> Finding:
    """Whether there is a key, or else somebody who is signed in."""
    from azure.core.exceptions import ClientAuthenticationError

    about = f"sign-in ({which})"
    if key:
        return passed(about, "with the account's key")
    if credential is None:
        return skipped(about, "no credential")
    try:
        credential.get_token(SCOPES[which])
    except ClientAuthenticationError:
        return failed(about, "there is no key, and azure-identity finds nobody who is signed in", mends.SIGN_IN)
    return passed(about, "as azure-identity finds you")


def check_account(client: BatchClient, account: Account) -> Finding:
    """The first call."""
    about = "Batch account"
    try:
        with service(f"asking {account.url}"):
            next(iter(client.list_pools(max_results=1, **FIRST_CALL)), None)
    except ServiceUnreachable as error:
        return failed(about, f"{error}: a wrong URL, or no network", mends.account_url(account.name))
    except AccessRefused as error:
        return failed(about, _refused(error, account), mends.access(account))
    except ServiceError as error:
        return failed(about, str(error), mends.account_url(account.name))
    return passed(about, f"{account.url} answers")


def check_rights(client: BatchClient, account: Account) -> Finding:
    """Make a Batch job without tasks and delete it: what a run does first."""
    from azure.batch import models

    about = "rights (Batch)"
    job_id = f"{PROBE}-{uuid.uuid4().hex}"
    try:
        with service("making a Batch job without tasks"):
            pool = models.BatchPoolInfo(pool_id=PROBE)
            client.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=pool), **FIRST_CALL)
    except ServiceError as error:
        if error.code in QUOTA_CODES:
            return failed(about, f"{error}: too many Batch jobs are active", "snakemake-azurebatch cleanup")
        return failed(about, str(error), mends.access(account))
    with suppress(ServiceError), service("deleting a Batch job"):
        # It goes by itself; nobody has to wait for that.
        client.begin_delete_job(job_id, polling_interval=60)
        return passed(about, "a Batch job without tasks was made and deleted")
    return warned(
        about, f"Batch job {job_id} was made, but could not be deleted", f"az batch job delete --job-id {job_id}"
    )


def _refused(error: AccessRefused, account: Account) -> str:
    if account.key:
        return f"{error}: the key is not that of account {account.name}, or this machine's clock is wrong"
    return f"{error}: you are signed in, but have no role on account {account.name}"
