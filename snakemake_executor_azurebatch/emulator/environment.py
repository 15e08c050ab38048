"""The environment variables that point the Azure SDKs, the ``az`` CLI and this plugin at a local service (pure)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

#: Azurite's development account and its key, both public. source: public documentation of Azurite
STORAGE_ACCOUNT = "devstoreaccount1"
STORAGE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

#: The account as a resource: subscription and group may have any name here.
_RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.Batch/batchAccounts/"
)

SHELLS = ("bash", "fish", "powershell")


def variables(batch_url: str, account: str, key: str, blob_url: str, ca_file: str = "") -> dict[str, str]:
    """What a client needs to reach the service and its blob storage (``blob_url`` is empty where it has none).

    ``ca_file`` is what a client of a service with HTTPS has to trust; empty for one with HTTP.
    """
    batch = {
        "BATCH_ACCOUNT_NAME": account,
        "BATCH_ACCOUNT_KEY": key,
        "BATCH_ACCOUNT_URL": batch_url,
        "BATCH_ACCOUNT_RESOURCE_ID": f"{_RESOURCE_ID}{account}",
        "BATCH_MANAGEMENT_URL": batch_url,
    }
    if ca_file:
        batch |= {"REQUESTS_CA_BUNDLE": ca_file, "SSL_CERT_FILE": ca_file}
    if not blob_url:
        return batch
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={STORAGE_ACCOUNT};AccountKey={STORAGE_KEY};BlobEndpoint={blob_url};"
    )
    return {
        **batch,
        "STORAGE_ACCOUNT_NAME": STORAGE_ACCOUNT,
        "STORAGE_ACCOUNT_KEY": STORAGE_KEY,
        "STORAGE_ACCOUNT_CONNECTION_STRING": connection,
        "AZURE_STORAGE_CONNECTION_STRING": connection,
    }


def export_commands(environment: Mapping[str, str], shell: str) -> str:
    """Lines that a shell evaluates to set the variables. Raises ValueError for a shell not in SHELLS."""
    if shell not in SHELLS:
        raise ValueError(f"unknown shell {shell!r}: one of {', '.join(SHELLS)}")
    return "".join(f"{_EXPORT[shell](name, value)}\n" for name, value in environment.items())


def _bash(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$env:{name} = '{quoted}'"


_EXPORT = {"bash": _bash, "fish": _fish, "powershell": _powershell}
