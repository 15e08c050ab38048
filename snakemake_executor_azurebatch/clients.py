"""Makes the Azure SDK's clients: which credential, in which order. The only place that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.connections import many_connections
from snakemake_executor_azurebatch.options import Account, Storage
from snakemake_executor_azurebatch.resource_manager import AccountResource

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.core.credentials import TokenCredential
    from azure.mgmt.batch import BatchManagementClient
    from azure.storage.blob import BlobServiceClient

#: Seconds to connect, seconds to wait for bytes; azure-core's own retries come on top.
CONNECTION_TIMEOUT_S = 10
READ_TIMEOUT_S = 60

#: How blob storage is asked again after a broken connection or a busy answer: six times, after about 3, 5, 9, 17,
#: 33 and 65 s. The SDK's own first pause would be 18 s.
BLOB_RETRIES: dict[str, Any] = {
    **{f"retry_{kind}": 6 for kind in ("total", "connect", "read", "status")},
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}

#: What of a blob is asked for in one request at first. The SDK holds it in memory, for each of several downloads.
FIRST_GET_BYTES = 8 << 20

#: For the first call to a service: a wrong URL is to be told in seconds, not after azure-core's ten tries.
FIRST_CALL: dict[str, Any] = {
    "connection_timeout": 5,
    "retry_total": 2,
    "retry_connect": 2,
    "retry_backoff_factor": 0.4,
}


def batch_client(account: Account) -> BatchClient:
    """A client of the Batch account: with its key where there is one, else signed in by azure-identity."""
    from azure.batch import BatchClient
    from azure.core.credentials import AzureNamedKeyCredential

    credential = AzureNamedKeyCredential(account.name, account.key) if account.key else signed_in()
    return BatchClient(
        endpoint=account.url,
        credential=credential,
        connection_timeout=CONNECTION_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )


def blob_service(storage: Storage) -> BlobServiceClient:
    """A client of the storage account: with its key where there is one, else signed in by azure-identity."""
    from azure.storage.blob import BlobServiceClient

    credential: Any = {"account_name": storage.name, "account_key": storage.key} if storage.key else signed_in()
    return BlobServiceClient(
        storage.blob_url,
        credential=credential,
        transport=many_connections(CONNECTION_TIMEOUT_S, READ_TIMEOUT_S),
        max_single_get_size=FIRST_GET_BYTES,
        **BLOB_RETRIES,
    )


#: A JSON web token that says nothing and is signed by nobody: what the local service without HTTPS is content with.
_NOBODYS_TOKEN = "e30.e30.bm9ib2R5"  # noqa: S105 (it opens nothing)


def management_client(resource: AccountResource) -> BatchManagementClient:
    """A client of Azure Resource Manager, always signed in: a key of the account is none there.

    Needs the extra ``identity``.
    """
    from azure.core.pipeline.policies import HeadersPolicy
    from azure.mgmt.batch import BatchManagementClient

    options: dict[str, Any] = {"connection_timeout": CONNECTION_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
    if resource.url is not None:
        options["credential_scopes"] = [f"{resource.url}/.default"]
    if resource.is_local:  # the SDK sends no token without HTTPS
        options["authentication_policy"] = HeadersPolicy({"Authorization": f"Bearer {_NOBODYS_TOKEN}"})
    return BatchManagementClient(signed_in(), resource.subscription_id, resource.url, **options)


def signed_in() -> TokenCredential:
    """Whoever is signed in here: environment, workload or managed identity, az login, ... (azure-identity)."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
