"""A pool as Azure Resource Manager has it, and as Azure Batch does."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import arm
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.schema import check_body

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
RESOURCE = {
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
    "tags": {"project": "trees"},
    "properties": {
        "vmSize": "Standard_D2s_v5",
        "taskSlotsPerNode": 2,
        "taskSchedulingPolicy": {"nodeFillType": "Pack"},
        "interNodeCommunication": "Disabled",
        "scaleSettings": {"autoScale": {"formula": "$TargetDedicatedNodes=1;", "evaluationInterval": "PT5M"}},
        "deploymentConfiguration": {
            "virtualMachineConfiguration": {
                "imageReference": {"id": "/subscriptions/s/resourceGroups/g/images/i"},
                "nodeAgentSkuId": "batch.node.ubuntu 22.04",
                "dataDisks": [{"lun": 0, "diskSizeGB": 8, "caching": "ReadOnly"}],
                "containerConfiguration": {
                    "type": "DockerCompatible",
                    "containerRegistries": [
                        {"registryServer": "r.azurecr.io", "identityReference": {"resourceId": IDENTITY}}
                    ],
                },
            }
        },
        "startTask": {"commandLine": "true", "userIdentity": {"userName": "one"}},
        "networkConfiguration": {"dynamicVnetAssignmentScope": "none"},
    },
}


def with_properties(**properties) -> dict:
    return {**RESOURCE, "properties": {**RESOURCE["properties"], **properties}}


def test_the_body_that_azure_batch_would_get():
    body = arm.create_body("p", RESOURCE)
    machine = body["virtualMachineConfiguration"]
    assert machine["imageReference"] == {"virtualMachineImageId": "/subscriptions/s/resourceGroups/g/images/i"}
    assert machine["nodeAgentSKUId"] == "batch.node.ubuntu 22.04"
    assert (body["enableAutoScale"], body["autoScaleFormula"]) == (True, "$TargetDedicatedNodes=1;")
    assert (body["id"], body["enableInterNodeCommunication"]) == ("p", False)
    assert body["startTask"]["userIdentity"] == {"username": "one"}
    assert body["networkConfiguration"] == {"dynamicVNetAssignmentScope": "none"}
    checked = check_body("BatchPoolCreateOptions", body)
    assert checked["virtualMachineConfiguration"]["dataDisks"] == [{"lun": 0, "diskSizeGB": 8, "caching": "readonly"}]


def test_a_fixed_number_of_nodes():
    fixed = {"fixedScale": {"targetDedicatedNodes": 3, "nodeDeallocationOption": "Requeue"}}
    body = arm.create_body("p", with_properties(scaleSettings=fixed))
    assert body["targetDedicatedNodes"] == 3
    assert "enableAutoScale" not in body


def test_the_resource_is_what_was_asked_for():
    """And what the service adds."""
    wire = {
        **check_body("BatchPoolCreateOptions", arm.create_body("p", RESOURCE)),
        "state": "active",
        "stateTransitionTime": "now",
        "allocationState": "steady",
        "eTag": "0x1",
        "currentDedicatedNodes": 0,
        "identity": arm.identity_of(RESOURCE),
    }
    shown = arm.resource_of("/subscriptions/x", wire, arm.tags_of(RESOURCE))
    assert (shown["id"], shown["name"], shown["type"]) == ("/subscriptions/x", "p", arm.TYPE)
    assert (shown["tags"], shown["etag"]) == (RESOURCE["tags"], 'W/"0x1"')
    properties = shown["properties"]
    assert {name: properties[name] for name in RESOURCE["properties"]} == RESOURCE["properties"]
    assert (properties["provisioningState"], properties["allocationState"]) == ("Succeeded", "Steady")
    ids = shown["identity"]["userAssignedIdentities"]
    assert list(ids) == [IDENTITY]
    assert set(ids[IDENTITY]) == {"clientId", "principalId"}
    again = arm.create_body("p", shown)
    assert check_body("BatchPoolCreateOptions", again) == check_body(
        "BatchPoolCreateOptions", arm.create_body("p", RESOURCE)
    )


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        ([], "'Pool' must be an object"),
        ({"sku": {}}, "'sku' does not exist on type 'Pool'"),
        ({"properties": 1}, "'properties' must be an object"),
        (with_properties(virtualMachineConfiguration={}), "'virtualMachineConfiguration' does not exist on type"),
        (with_properties(targetDedicatedNodes=1), "'targetDedicatedNodes' does not exist on type 'PoolProperties'"),
        (with_properties(scaleSettings={}), "There has to be one of fixedScale and autoScale"),
        (with_properties(scaleSettings={"fixedScale": {}, "autoScale": {}}), "There has to be one of"),
        (with_properties(scaleSettings={"autoScale": {"x": 1}}), "'x' does not exist on type 'autoScale'"),
        (with_properties(interNodeCommunication=True), "must be one of: Enabled, Disabled"),
        ({"identity": {"type": "SystemAssigned"}}, "must be one of: UserAssigned, None"),
        ({"identity": {"type": "UserAssigned"}}, "UserAssigned and userAssignedIdentities go together"),
        ({"identity": {"userAssignedIdentities": {IDENTITY: {}}}}, "go together"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"me": {}}}}, "no id of a user-assigned"),
        ({"tags": {"a": 1}}, "The value of a tag is a text"),
    ],
)
def test_what_is_wrong_is_refused(resource, text):
    with pytest.raises(ServiceFault) as refused:
        arm.create_body("p", resource), arm.identity_of(resource), arm.tags_of(resource)
    assert refused.value.fault.status == 400
    assert text in str(refused.value.values)


def test_no_identity():
    assert arm.identity_of({}) is None
    assert arm.identity_of({"identity": {"type": "None"}}) is None
