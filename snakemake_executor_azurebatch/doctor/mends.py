"""Commands that mend what is wrong (pure)."""

from __future__ import annotations

from snakemake_executor_azurebatch.options import Account, Storage

_GROUP = "--resource-group GROUP"
SIGN_IN = "az login"
CLOCK = "sudo timedatectl set-ntp true   # or set the clock of this machine otherwise"


def account_url(name: str) -> str:
    """Where the Batch account says that it is."""
    return f"az batch account show --name {name} {_GROUP} --query accountEndpoint --output tsv"


def account_key(name: str) -> str:
    """The key of the Batch account, into the shell."""
    return f"export BATCH_ACCOUNT_KEY=$(az batch account keys list --name {name} {_GROUP} --query primary --output tsv)"


def account_role(name: str) -> str:
    """The role that a run needs on the Batch account."""
    scope = f"$(az batch account show --name {name} {_GROUP} --query id --output tsv)"
    return _role("Azure Batch Data Contributor", scope)


def storage_key(name: str) -> str:
    """The key of the storage account, into the shell."""
    return (
        f"export STORAGE_ACCOUNT_KEY=$(az storage account keys list --account-name {name} "
        "--query '[0].value' --output tsv)"
    )


def storage_role(name: str) -> str:
    """The role that a run needs on the storage account."""
    return _role("Storage Blob Data Contributor", f"$(az storage account show --name {name} --query id --output tsv)")


def storage_account() -> str:
    """Which storage accounts there are."""
    return "az storage account list --query '[].name' --output tsv"


def registry_password(name: str) -> str:
    """The password of a registry, into the shell."""
    return f"export REGISTRY_PASSWORD=$(az acr credential show --name {name} --query 'passwords[0].value' --output tsv)"


def quota(name: str) -> str:
    """How many cores an account may use."""
    return (
        f"az batch account show --name {name} {_GROUP} "
        "--query '{dedicated: dedicatedCoreQuota, spot: lowPriorityCoreQuota}'"
        "   # to ask for more: Quotas of the account in the Azure portal"
    )


def access(account: Account) -> str:
    """What gives access to a Batch account: another key, or a role."""
    return account_key(account.name) if account.key else account_role(account.name)


def storage_access(storage: Storage) -> str:
    """What gives access to a storage account: another key, or a role."""
    return storage_key(storage.name) if storage.key else storage_role(storage.name)


def setting(problem: str) -> str:
    """For a problem of the settings, which says itself what is wrong."""
    for begins, mend in _SETTINGS:
        if begins in problem:
            return mend
    return "Change the setting that is named, in the profile or the environment; docs/reference-settings.md has all"


_CONNECTION = (
    "export STORAGE_ACCOUNT_CONNECTION_STRING=$(az storage account show-connection-string --name NAME "
    "--query connectionString --output tsv)"
)
_SETTINGS = (
    ("no Batch account", "export BATCH_ACCOUNT_URL=https://NAME.REGION.batch.azure.com"),
    ("no storage account", "export STORAGE_ACCOUNT_NAME=NAME"),
    ("the key in SNAKEMAKE_AZUREBATCH_ACCOUNT_KEY", account_key("NAME")),
    ("the key in SNAKEMAKE_AZUREBATCH_STORAGE", storage_key("NAME")),
    ("connection string", _CONNECTION),
    ("container registry", registry_password("NAME")),
)


def _role(role: str, scope: str) -> str:
    who = "$(az ad signed-in-user show --query id --output tsv)"
    return f'az role assignment create --role "{role}" --assignee "{who}" --scope "{scope}"'
