"""Names of resources by Azure's rules, checked before anything is asked for (pure).

source: Azure documentation, "Naming rules and restrictions for Azure resources".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snakemake_executor_azurebatch.errors import AzureBatchError

#: Hosts of the clouds besides the public one, by how the names of their regions begin.
#: source: Azure documentation, "Azure Government" and "Azure China" endpoints.
_CLOUDS = {
    "usgov": ("batch.usgovcloudapi.net", "blob.core.usgovcloudapi.net", "azurecr.us"),
    "usdod": ("batch.usgovcloudapi.net", "blob.core.usgovcloudapi.net", "azurecr.us"),
    "china": ("batch.chinacloudapi.cn", "blob.core.chinacloudapi.cn", "azurecr.cn"),
}
_PUBLIC = ("batch.azure.com", "blob.core.windows.net", "azurecr.io")


class NamesError(AzureBatchError):
    """Names that Azure would refuse. The message lists every one."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["Azure would refuse these names:", *(f"  - {problem}" for problem in problems)]))


@dataclass(frozen=True, slots=True)
class Names:
    """What there is to be. An empty ``registry`` or ``identity``: none."""

    location: str
    resource_group: str
    batch_account: str
    storage_account: str
    registry: str = ""
    identity: str = ""

    @property
    def account_url(self) -> str:
        """URL of the Batch account."""
        return f"https://{self.batch_account}.{self.location}.{self._hosts[0]}"

    @property
    def storage(self) -> str:
        """The storage account as ``--azurebatch-storage-account`` takes it: a URL outside of the public cloud."""
        is_public = self._hosts == _PUBLIC
        return self.storage_account if is_public else f"https://{self.storage_account}.{self._hosts[1]}"

    @property
    def registry_server(self) -> str:
        """Host of the registry; empty where there is none."""
        return f"{self.registry.lower()}.{self._hosts[2]}" if self.registry else ""

    @property
    def _hosts(self) -> tuple[str, str, str]:
        return next((hosts for begin, hosts in _CLOUDS.items() if self.location.startswith(begin)), _PUBLIC)


def check(names: Names) -> Names:
    """The same names, the region in Azure's own spelling. Raises NamesError with all that is wrong."""
    location = names.location.replace(" ", "").lower()
    if problems := list(_problems(names, location)):
        raise NamesError(problems)
    return Names(
        location,
        names.resource_group,
        names.batch_account,
        names.storage_account,
        names.registry,
        names.identity,
    )


def _problems(names: Names, location: str) -> Iterator[str]:
    if not re.fullmatch(r"[a-z]{3,}[a-z0-9]*", location):
        yield (
            f"location {names.location!r}: a region's name, as westeurope or eastus2 "
            "(all of them: az account list-locations --query '[].name' --output tsv)"
        )
    if not re.fullmatch(r"[\w().-]{1,90}", names.resource_group) or names.resource_group.endswith("."):
        yield (
            f"resource group {names.resource_group!r}: 1 to 90 letters, digits, '_', '-', '.' and parentheses, "
            "not ending with '.'"
        )
    for kind, name in (("Batch account", names.batch_account), ("storage account", names.storage_account)):
        if not re.fullmatch(r"[a-z0-9]{3,24}", name):
            yield f"{kind} {name!r}: 3 to 24 lower-case letters and digits{_hint(name, 24)}"
    if names.registry and not re.fullmatch(r"[A-Za-z0-9]{5,50}", names.registry):
        yield f"registry {names.registry!r}: 5 to 50 letters and digits"
    if names.identity and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}", names.identity):
        yield f"identity {names.identity!r}: 3 to 128 letters, digits, '-' and '_', beginning with a letter or digit"


def _hint(name: str, longest: int) -> str:
    """A name near the one that was given that would do."""
    near = re.sub(r"[^a-z0-9]", "", name.lower())[:longest]
    return f", such as {near}" if len(near) >= 3 else ""
