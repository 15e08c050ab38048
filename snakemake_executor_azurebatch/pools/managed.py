"""Pools with managed identities or tags: whether Azure Resource Manager can be asked to make them; and that."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.clients import management_client
from snakemake_executor_azurebatch.errors import AlreadyExists, service
from snakemake_executor_azurebatch.pools.description import PoolDescription
from snakemake_executor_azurebatch.pools.resource import resource_of
from snakemake_executor_azurebatch.resource_manager import FIND_ID, AccountResource

if TYPE_CHECKING:
    from azure.batch import models

INSTALL = 'pip install "snakemake-executor-plugin-azurebatch[identity]"'


def is_managed(pool: PoolDescription) -> bool:
    """Whether a pool has what Azure Batch's own interface cannot give it (source: its reference, "Add Pool")."""
    return bool(pool.identities or pool.tags)


def why_not(resource: AccountResource | None) -> str:
    """What is missing for pools to be made through Azure Resource Manager; empty: nothing."""
    missing = []
    if not _is_installed():
        missing.append(f"the Azure SDK for that, which is an extra: {INSTALL}")
    if resource is None:
        missing.append(
            "the resource id of the Batch account: give --azurebatch-account-resource-id (or "
            f"BATCH_ACCOUNT_RESOURCE_ID), as this prints it: {FIND_ID}"
        )
    return "; and ".join(missing)


def _is_installed() -> bool:
    try:
        return find_spec("azure.mgmt.batch") is not None
    except ModuleNotFoundError:  # azure.mgmt is not there either
        return False


def create_pool(resource: AccountResource, pool: PoolDescription, request: models.BatchPoolCreateOptions) -> None:
    """Make a pool, and never change one. Raises AlreadyExists where there is one, ServiceError."""
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceExistsError

    as_json = json.loads(json.dumps(request.as_dict()))  # enums are texts then
    body = resource_of(as_json, pool.identities, pool.tags)
    doing = f"creating pool {pool.pool_id} through Azure Resource Manager"
    with service(doing), management_client(resource) as client:
        try:
            client.pool.create(
                *(resource.group, resource.name, pool.pool_id, body),
                match_condition=MatchConditions.IfMissing,
            )
        except ResourceExistsError as error:
            if error.status_code != 412:  # what stands in the way otherwise is told in Azure's words
                raise
            raise AlreadyExists(f"{doing}: it is there") from error
