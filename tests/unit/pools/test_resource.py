"""A described pool as Azure Resource Manager is asked for it: what the models of its SDK know, and nothing lost."""

import json
import typing
from dataclasses import replace
from enum import Enum

import pytest
from azure.mgmt.batch import models
from azure.mgmt.batch.models import _models

from snakemake_executor_azurebatch.pools.asking import create_options
from snakemake_executor_azurebatch.pools.description import PoolDescription, RegistryAccess
from snakemake_executor_azurebatch.pools.managed import is_managed
from snakemake_executor_azurebatch.pools.resource import resource_of
from snakemake_executor_azurebatch.pools.scaling import EVERY, Fixed, Leased
from tests.unit.pools.test_asking import FULL, OS

ME = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
MANAGED = replace(
    FULL,
    registries=(*FULL.registries, RegistryAccess("bar.azurecr.io", identity=ME)),
    identities=(ME,),
    tags={"project": "trees"},
)


def resource(pool: PoolDescription = MANAGED, size: Fixed | Leased | None = None) -> dict:
    request = create_options(pool, OS, ["run:1"], size or Fixed(1, 2), {"created-by": "me"})
    return resource_of(json.loads(json.dumps(request.as_dict())), pool.identities, pool.tags)


def unknown(value: object, hint: object, path: str) -> list[str]:
    """Paths that the SDK's models do not have, and words that its enums do not have."""
    choices = [one for one in typing.get_args(hint) if one is not type(None)]
    if typing.get_origin(hint) is list:
        return [found for item in typing.cast("list", value) for found in unknown(item, choices[0], path)]
    if typing.get_origin(hint) is dict:
        return []
    if choices:
        enums = [one for one in choices if isinstance(one, type) and issubclass(one, Enum)]
        return unknown(value, enums[0] if enums else choices[0], path)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [] if value in [one.value for one in hint] else [f"{path}: {value}"]
    if not isinstance(value, dict):
        return []
    typing.cast("type", hint).__new__(hint)
    hints = typing.get_type_hints(hint, globalns={**vars(_models), "_models": models})
    known = {
        field._rest_name: hints[name]
        for base in hint.__mro__
        for name, field in vars(base).items()
        if hasattr(field, "_rest_name") and field._visibility != ["read"]
    }
    lost = [f"{path}.{name}" for name in value if name not in known]
    return lost + [
        found
        for name, inner in value.items()
        if name in known
        for found in unknown(inner, known[name], f"{path}.{name}")
    ]


@pytest.mark.parametrize("size", [Fixed(1, 2), Leased("$TargetDedicatedNodes=1;")], ids=["fixed", "leased"])
def test_the_sdk_knows_every_member_and_every_word(size):
    assert unknown(resource(size=size), models.Pool, "") == []


def test_what_is_asked_for():
    body = resource()
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {ME: {}}}
    assert body["tags"] == {"project": "trees"}
    properties = body["properties"]
    assert properties["scaleSettings"] == {"fixedScale": {"targetDedicatedNodes": 1, "targetLowPriorityNodes": 2}}
    machine = properties["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert machine["nodeAgentSkuId"] == OS.node_agent_sku
    assert machine["containerConfiguration"]["containerRegistries"] == [
        {"registryServer": "foo.azurecr.io", "username": "me", "password": "hunter2"},
        {"registryServer": "bar.azurecr.io", "identityReference": {"resourceId": ME}},
    ]
    assert [disk["managedDisk"]["storageAccountType"] for disk in machine["dataDisks"]] == [
        "Premium_LRS",
        "Standard_LRS",
    ]
    assert properties["networkConfiguration"]["publicIPAddressConfiguration"] == {"provision": "NoPublicIPAddresses"}
    assert properties["startTask"]["userIdentity"]["autoUser"] == {"scope": "Pool", "elevationLevel": "Admin"}
    assert properties["taskSchedulingPolicy"] == {"nodeFillType": "Pack"}
    assert len(properties["mountConfiguration"]) == 3


def test_a_leased_pool():
    settings = resource(size=Leased("$TargetDedicatedNodes=1;"))["properties"]["scaleSettings"]
    assert settings == {"autoScale": {"formula": "$TargetDedicatedNodes=1;", "evaluationInterval": "PT05M00S"}}
    assert EVERY.total_seconds() == 300


def test_what_a_user_wrote_keeps_its_capitals():
    pool = replace(MANAGED, metadata={"caching": "none", "scope": "pool"}, tags={"scope": "pool"})
    body = resource(pool)
    assert {"name": "scope", "value": "pool"} in body["properties"]["metadata"]
    assert body["tags"] == {"scope": "pool"}


def test_nothing_is_lost_silently():
    with pytest.raises(KeyError, match="displayName"):
        resource_of({"displayName": "x"}, (), {})


def test_which_pools_need_it():
    assert not is_managed(FULL)
    assert is_managed(replace(FULL, identities=(ME,)))
    assert is_managed(replace(FULL, tags={"a": "b"}))
    assert "identity" not in resource(replace(FULL, tags={"a": "b"}))
