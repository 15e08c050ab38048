"""What ``az`` is asked for, step by step, as plain values: to be printed for a shell, or run (pure).

No step has a key in it, and none asks for one. source: reference of the Azure CLI.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snakemake_executor_azurebatch.provisioning.names import Names

TAG_NAME = "createdBy"  # no dash: a query with it would need quotes, which az.cmd loses
MARK = "snakemake-azurebatch"
TAG = f"{TAG_NAME}={MARK}"
DEPLOYMENT = "snakemake-azurebatch"
#: What an Azure subscription has to know before it can make resources of a kind.
NAMESPACES = ("Microsoft.Batch", "Microsoft.Storage")


@dataclass(frozen=True, slots=True)
class Step:
    """One command. ``{name}`` in an argument stands for what an earlier step has kept under that name."""

    says: str
    az: tuple[str, ...]
    keeps: str = ""  #: name of what it prints


def sign_in(subscription: str) -> list[Step]:
    """For a script: where nobody is signed in, or into another subscription."""
    chosen = [Step("Choose who pays", ("account", "set", "--subscription", subscription))] if subscription else []
    return [Step("Sign in", ("login",)), *chosen]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who gets the roles. Without ``id``: who is signed in. ``kind`` empty: nobody gets any."""

    kind: str = "User"
    id: str = ""


def setup_steps(names: Names, template: str, principal: Principal) -> list[Step]:
    """All that makes the resources, in order; to be repeated without harm."""
    namespaces = [
        *NAMESPACES,
        *(["Microsoft.ContainerRegistry"] if names.registry else []),
        *(["Microsoft.ManagedIdentity"] if names.identity else []),
    ]
    group = names.resource_group
    return [
        *(
            Step(f"Let the subscription know {name}", ("provider", "register", "--namespace", name, "--wait"))
            for name in namespaces
        ),
        Step(
            "Make the resource group: everything is in it",
            ("group", "create", "--name", group, "--location", names.location, "--tags", TAG),
        ),
        *([_WHO] if principal.kind and not principal.id else []),
        Step(
            "Make the accounts",
            (
                *("deployment", "group", "create", "--resource-group", group, "--name", DEPLOYMENT),
                *("--template-file", template, "--parameters", *_parameters(names, principal)),
            ),
        ),
    ]


_WHO = Step(
    "Find out who you are, for the roles",
    ("ad", "signed-in-user", "show", "--query", "id", "--output", "tsv"),
    "principal",
)


def _parameters(names: Names, principal: Principal) -> Iterable[str]:
    yield f"location={names.location}"
    yield f"batchAccountName={names.batch_account}"
    yield f"storageAccountName={names.storage_account}"
    if names.registry:
        yield f"registryName={names.registry}"
    if names.identity:
        yield f"identityName={names.identity}"
    if principal.kind:
        yield f"principalId={principal.id or '{principal}'}"
        yield f"principalType={principal.kind}"


def quota_step(names: Names) -> Step:
    """How many cores the account may use: a new one may have none."""
    return Step(
        "See how many cores you may use; to ask for more: Quotas of the account in the Azure portal",
        (
            *("batch", "account", "show", "--name", names.batch_account, "--resource-group", names.resource_group),
            *("--query", "{dedicated: dedicatedCoreQuota, spot: lowPriorityCoreQuota, pools: poolQuota}"),
        ),
    )


def key_steps(names: Names) -> list[Step]:
    """For those who may not use roles: keys, from Azure into the variables of the shell."""
    account, storage = names.batch_account, names.storage_account
    group = ("--resource-group", names.resource_group, "--output", "tsv")
    return [
        Step(
            "The key of the Batch account, for this shell only",
            ("batch", "account", "keys", "list", "--name", account, *group, "--query", "primary"),
            "BATCH_ACCOUNT_KEY",
        ),
        Step(
            "The key of the storage account, for this shell only",
            ("storage", "account", "keys", "list", "--account-name", storage, *group, "--query", "[0].value"),
            "STORAGE_ACCOUNT_KEY",
        ),
    ]


def list_step(resource_group: str) -> Step:
    """What is in a resource group, one resource a row: name, type, tag."""
    query = f"[].{{name: name, type: type, by: tags.{TAG_NAME}}}"
    return Step(
        "See what will be lost",
        ("resource", "list", "--resource-group", resource_group, "--query", query, "--output", "json"),
    )


def delete_step(resource_group: str) -> Step:
    """The end of a resource group, and of all that is in it."""
    return Step(
        "Delete the resource group, with all that is in it: accounts, pools, images, and all blobs",
        ("group", "delete", "--name", resource_group, "--yes"),
    )
