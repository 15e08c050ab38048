"""What a task may do in the blob container: one URL to read, one to write, for a limited time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.errors import service

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient, ContainerClient

#: Clocks differ: a SAS that starts "now" may be refused at first
#: (source: "Grant limited access to Azure Storage resources using shared access signatures", best practices).
STARTS_EARLIER = timedelta(minutes=15)
#: A user delegation key lives at most seven days (source: "Get User Delegation Key").
LONGEST_DELEGATION = timedelta(days=7)

READ, WRITE = "r", "cw"
#: What Azure Batch needs to bring all blobs of a prefix (source: Azure Batch documentation, "ResourceFile").
READ_AND_LIST = "rl"


@dataclass(frozen=True)
class Access:
    """URLs of the blob container, each with its SAS. They are secrets: never shown, logged or compared."""

    read_url: str = field(repr=False)
    write_url: str = field(repr=False)
    expires: datetime


def make_access(
    container: ContainerClient,
    lifetime_s: float,
    *,
    account_key: str | None = None,
    delegation: BlobServiceClient | None = None,
    read: str = READ,
) -> Access:
    """Make both URLs, valid for ``lifetime_s`` seconds. ``read``: the permissions of the one to read.

    Signed with the ``account_key``; or, where the account has a token credential, with a user delegation key
    fetched through ``delegation``, then for seven days at most. Raises ServiceError where that is refused.
    """
    times, signing = times_and_signing(lifetime_s, account_key, delegation)
    read_url, write_url = (_url(container, permission, times, signing) for permission in (read, WRITE))
    return Access(read_url, write_url, times[1])


def policy_access(container: ContainerClient, read: str, write: str, account_key: str, expires: datetime) -> Access:
    """Both URLs, each bound to a stored access policy that says what it may do and until when."""
    read_url, write_url = (_bound_url(container, policy, account_key) for policy in (read, write))
    return Access(read_url, write_url, expires)


def blob_read_url(
    container: ContainerClient,
    blob: str,
    lifetime_s: float,
    *,
    account_key: str | None = None,
    delegation: BlobServiceClient | None = None,
) -> str:
    """A URL that reads one blob and nothing else. It is a secret. Raises ServiceError.

    Not bound to a policy: the service itself fetches it for a task, and would not wait until a policy acts.
    """
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    times, signing = times_and_signing(lifetime_s, account_key, delegation)
    client = container.get_blob_client(blob)
    token = generate_blob_sas(
        account_name=str(container.account_name),
        container_name=container.container_name,
        blob_name=blob,
        permission=BlobSasPermissions(read=True),
        start=times[0],
        expiry=times[1],
        protocol=_protocol(container),
        **signing,
    )
    return f"{client.url.split('?', 1)[0]}?{token}"


def times_and_signing(
    lifetime_s: float, account_key: str | None, delegation: BlobServiceClient | None
) -> tuple[tuple[datetime, datetime], dict[str, Any]]:
    """Start and end of a SAS, and what it is signed with as the SDK's arguments. Raises ServiceError."""
    now = datetime.now(UTC)
    start, expires = now - STARTS_EARLIER, now + timedelta(seconds=lifetime_s)
    if account_key is not None:
        return (start, expires), {"account_key": account_key}
    if delegation is None:
        raise ValueError("a SAS needs an account key or a client with a token credential")
    # Seven days count from the start, which lies in the past.
    expires = min(expires, start + LONGEST_DELEGATION)
    with service("asking for a user delegation key"):
        return (start, expires), {"user_delegation_key": delegation.get_user_delegation_key(start, expires)}


def _protocol(container: ContainerClient) -> str:
    return "https,http" if container.scheme == "http" else "https"


def _bound_url(container: ContainerClient, policy: str, account_key: str) -> str:
    from azure.storage.blob import generate_container_sas

    token = generate_container_sas(
        account_name=str(container.account_name),
        container_name=container.container_name,
        policy_id=policy,
        account_key=account_key,
        protocol=_protocol(container),
    )
    return f"{container.url.split('?', 1)[0]}?{token}"


def _url(container: ContainerClient, permission: str, times: tuple[datetime, datetime], signing: dict[str, Any]) -> str:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    token = generate_container_sas(
        account_name=str(container.account_name),
        container_name=container.container_name,
        permission=ContainerSasPermissions.from_string(permission),
        start=times[0],
        expiry=times[1],
        protocol=_protocol(container),
        **signing,
    )
    # Without what the client's own URL may carry after "?": a SAS of its own.
    return f"{container.url.split('?', 1)[0]}?{token}"
