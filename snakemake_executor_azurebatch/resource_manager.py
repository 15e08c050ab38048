"""The Batch account as a resource of Azure Resource Manager: read from settings and environment (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_ID = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/resourceGroups/(?P<group>[^/\s]+)"
    r"/providers/Microsoft\.Batch/batchAccounts/(?P<name>[a-z0-9]{3,24})",
    re.IGNORECASE,
)
SHOWN_ID = "/subscriptions/GUID/resourceGroups/GROUP/providers/Microsoft.Batch/batchAccounts/NAME"
#: Where people find it.
FIND_ID = "az batch account show --resource-group GROUP --name NAME --query id"
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class AccountResource:
    """Where pools are made that Azure Batch's own interface cannot make.

    ``url``: of another Azure Resource Manager than that of the public cloud; None: that one.
    """

    subscription_id: str
    group: str
    name: str
    url: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is the local service without HTTPS, where nobody has to sign in."""
        return self.url is not None and self.url.startswith("http://")


def read_resource(
    resource_id: str | None, url: str | None, account: str, problems: list[str]
) -> AccountResource | None:
    """What settings and environment say of the account with this name; None where they say nothing."""
    if not resource_id:
        return None
    found = _ID.fullmatch(resource_id.rstrip("/"))
    if found is None:
        problems.append(
            f"--azurebatch-account-resource-id (or BATCH_ACCOUNT_RESOURCE_ID): {resource_id!r} is not like {SHOWN_ID}, "
            f"as this prints it: {FIND_ID}"
        )
        return None
    if found["name"].lower() != account.lower():
        problems.append(
            f"--azurebatch-account-resource-id (or BATCH_ACCOUNT_RESOURCE_ID) is of Batch account {found['name']}, "
            f"and the run is on {account}"
        )
    if url and not _is_safe(url):
        problems.append(f"BATCH_MANAGEMENT_URL: {url!r} is not a URL like https://management.azure.com")
    return AccountResource(found["subscription"], found["group"], found["name"], url.rstrip("/") if url else None)


def _is_safe(url: str) -> bool:
    """Without HTTPS only to this machine: passwords of registries travel there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)
    )


def resource_in(environment: Mapping[str, str], account: str) -> AccountResource | None:
    """As the variables of a local service have it."""
    return read_resource(
        environment.get("BATCH_ACCOUNT_RESOURCE_ID"), environment.get("BATCH_MANAGEMENT_URL"), account, []
    )
