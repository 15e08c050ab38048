"""A pool as Azure Resource Manager has it, and as Azure Batch itself does: one into the other, pure.

    Azure Resource Manager                                Azure Batch
    properties.scaleSettings.fixedScale, .autoScale       targetDedicatedNodes, enableAutoScale, autoScaleFormula, ...
    properties.deploymentConfiguration.virtualMachine...  virtualMachineConfiguration
    properties.interNodeCommunication: Enabled            enableInterNodeCommunication: true
    identity.userAssignedIdentities: {ID: {...}}          identity.userAssignedIdentities: [{resourceId: ID, ...}]
    tags                                                  (not shown)

All else differs in the spelling of a few names, and in capitals (source: models of azure-mgmt-batch 19 and azure-batch
15, both of 2025-06-01).

Assumed: a body that has what the resource type does not know is refused as the interface of Azure Batch does it; the
principal and client ids of an identity, which are made up here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from snakemake_executor_azurebatch.emulator import faults
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property
from snakemake_executor_azurebatch.emulator.wire import Json, JsonValue

TYPE = "Microsoft.Batch/batchAccounts/pools"

#: Names that differ: (name of the object around it, name there) -> name here.
_NAMES = {
    ("virtualMachineConfiguration", "nodeAgentSkuId"): "nodeAgentSKUId",
    ("imageReference", "id"): "virtualMachineImageId",
    ("userIdentity", "userName"): "username",
    ("cifsMountConfiguration", "userName"): "username",
    ("endpointConfiguration", "inboundNatPools"): "inboundNATPools",
    ("networkConfiguration", "dynamicVnetAssignmentScope"): "dynamicVNetAssignmentScope",
    ("applicationPackages", "id"): "applicationId",
}
_NAMES_BACK = {(around, here): there for (around, there), here in _NAMES.items()}

#: Words that Azure Resource Manager writes with other capitals, by the name of their member.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "type": ("DockerCompatible", "CriCompatible"),
    "nodeFillType": ("Spread", "Pack"),
    "jobDefaultOrder": ("None", "CreationTime"),
    "caching": ("None", "ReadOnly", "ReadWrite"),
    "storageAccountType": ("Standard_LRS", "Premium_LRS", "StandardSSD_LRS"),
    "provision": ("BatchManaged", "UserManaged", "NoPublicIPAddresses"),
    "scope": ("Task", "Pool"),
    "elevationLevel": ("NonAdmin", "Admin"),
    "allocationState": ("Steady", "Resizing", "Stopping"),
}
_AS_IT_IS = (
    *("displayName", "vmSize", "networkConfiguration", "taskSlotsPerNode", "taskSchedulingPolicy", "userAccounts"),
    *("metadata", "startTask", "mountConfiguration", "upgradePolicy"),
)
_SHOWN = (
    *("creationTime", "lastModified", "allocationState", "allocationStateTransitionTime"),
    *("currentDedicatedNodes", "currentLowPriorityNodes"),
)
_ONLY_HERE = ("provisioningState", "provisioningStateTransitionTime", "autoScaleRun", "resizeOperationStatus")
_COMMUNICATION = {"enabled": True, "disabled": False}
_FIXED = ("targetDedicatedNodes", "targetLowPriorityNodes", "resizeTimeout")
_IDENTITY = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+"
    r"/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)


def create_body(pool_id: str, resource: JsonValue) -> Json:
    """The body that makes this pool at Azure Batch. Raises ServiceFault for what the type does not know."""
    properties = _object("properties", _object("Pool", resource, ("properties", "identity", "tags")).get("properties"))
    found: Json = {"id": pool_id}
    for name, value in properties.items():
        if name in _AS_IT_IS:
            found[name] = _renamed(value, name, _NAMES)
        elif name in _OTHERWISE:
            found.update(_OTHERWISE[name](value))
        elif name not in (*_SHOWN, *_ONLY_HERE):  # what only the service writes may be sent back
            raise _unknown(name, "PoolProperties")
    return found


def identity_of(resource: Json) -> Json | None:
    """The pool's ``identity`` as Azure Batch shows it; None where there is none. Raises ServiceFault."""
    identity = _object("identity", resource.get("identity"), ("type", "userAssignedIdentities"))
    kind = str(identity.get("type", "None")).lower()
    given = _object("userAssignedIdentities", identity.get("userAssignedIdentities"))
    if kind not in ("none", "userassigned"):
        raise invalid_property("type", identity["type"], "The value must be one of: UserAssigned, None")
    if kind == "none" or not given:
        if given or kind != "none":
            raise invalid_property("identity", kind, "UserAssigned and userAssignedIdentities go together")
        return None
    for resource_id in given:
        if not _IDENTITY.fullmatch(resource_id):
            raise invalid_property("userAssignedIdentities", resource_id, "It is no id of a user-assigned identity")
    return {
        "type": "UserAssigned",
        "userAssignedIdentities": [
            {"resourceId": one, "clientId": _made_up(one, "client"), "principalId": _made_up(one, "principal")}
            for one in given
        ],
    }


def tags_of(resource: Json) -> dict[str, str]:
    """The resource's tags. Raises ServiceFault."""
    tags = _object("tags", resource.get("tags"))
    for name, value in tags.items():
        if not isinstance(value, str):
            raise invalid_property(name, value, "The value of a tag is a text")
    return tags


def resource_of(resource_id: str, wire: Json, tags: Mapping[str, str]) -> Json:
    """A pool as Azure Resource Manager shows it. ``wire``: as Azure Batch does."""
    known = {name: wire[name] for name in (*_AS_IT_IS, *_SHOWN) if name in wire}
    properties = {name: _renamed(value, name, _NAMES_BACK, _WORDS) for name, value in known.items()}
    properties["provisioningState"] = "Deleting" if wire["state"] == "deleting" else "Succeeded"
    properties["provisioningStateTransitionTime"] = wire["stateTransitionTime"]
    properties["interNodeCommunication"] = "Enabled" if wire["enableInterNodeCommunication"] else "Disabled"
    properties["scaleSettings"] = _scale_settings(wire)
    if machine := wire.get("virtualMachineConfiguration"):
        shown = _renamed(machine, "virtualMachineConfiguration", _NAMES_BACK, _WORDS)
        properties["deploymentConfiguration"] = {"virtualMachineConfiguration": shown}
    found: Json = {"id": resource_id, "name": wire["id"], "type": TYPE, "etag": f'W/"{wire["eTag"]}"'}
    found["properties"] = properties
    if identity := wire.get("identity"):
        ids = {one["resourceId"]: {k: one[k] for k in ("clientId", "principalId")} for one in _ids(identity)}
        found["identity"] = {"type": "UserAssigned", "userAssignedIdentities": ids}
    return {**found, "tags": dict(tags)} if tags else found


def _ids(identity: Json) -> list[Json]:
    return list(identity["userAssignedIdentities"])


def _scale_settings(wire: Json) -> Json:
    if wire["enableAutoScale"]:
        interval = wire.get("autoScaleEvaluationInterval")
        shown = {"formula": wire["autoScaleFormula"]} | ({"evaluationInterval": interval} if interval else {})
        return {"autoScale": shown}
    return {"fixedScale": {name: wire[name] for name in _FIXED if name in wire}}


def _scaled(settings: JsonValue) -> Json:
    given = _object("scaleSettings", settings, ("fixedScale", "autoScale"))
    if len(given) != 1:
        raise invalid_property("scaleSettings", ", ".join(given), "There has to be one of fixedScale and autoScale")
    if "fixedScale" in given:
        fixed = _object("fixedScale", given["fixedScale"], (*_FIXED, "nodeDeallocationOption"))
        return {name: value for name, value in fixed.items() if name in _FIXED}
    auto = _object("autoScale", given["autoScale"], ("formula", "evaluationInterval"))
    found: Json = {"enableAutoScale": True, "autoScaleFormula": auto.get("formula")}
    interval = auto.get("evaluationInterval")
    return found | ({"autoScaleEvaluationInterval": interval} if interval else {})


def _deployed(configuration: JsonValue) -> Json:
    name = "virtualMachineConfiguration"
    machine = _object("deploymentConfiguration", configuration, (name,)).get(name)
    return {name: _renamed(machine, name, _NAMES)}


def _communicating(value: JsonValue) -> Json:
    if str(value).lower() not in _COMMUNICATION:
        raise invalid_property("interNodeCommunication", value, "The value must be one of: Enabled, Disabled")
    return {"enableInterNodeCommunication": _COMMUNICATION[str(value).lower()]}


_OTHERWISE: Mapping[str, Callable[[JsonValue], Json]] = {
    "scaleSettings": _scaled,
    "deploymentConfiguration": _deployed,
    "interNodeCommunication": _communicating,
    "applicationPackages": lambda given: {
        "applicationPackageReferences": _renamed(given, "applicationPackages", _NAMES)
    },
}


def _renamed(
    value: Any,  # noqa: ANN401 (any JSON)
    around: str,
    names: Mapping[tuple[str, str], str],
    words: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:  # noqa: ANN401
    """A value with its members' names of the other side; ``around``: the name of the member that holds it."""
    if isinstance(value, list):
        return [_renamed(item, around, names, words) for item in value]
    if isinstance(value, dict):
        return {names.get((around, name), name): _renamed(inner, name, names, words) for name, inner in value.items()}
    for word in (words or {}).get(around, ()):
        if word.lower() == str(value).lower():
            return word
    return value


def _object(name: str, value: JsonValue, known: tuple[str, ...] | None = None) -> Json:
    """An object, empty for null, with no members but ``known`` and what only the service writes."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ServiceFault(faults.INVALID_REQUEST_BODY, (("Reason", f"The property '{name}' must be an object."),))
    for member in value:
        if known is not None and member not in (*known, "id", "name", "type", "etag", "systemData"):
            raise _unknown(member, name)
    return value


def _unknown(name: str, kind: str) -> ServiceFault:
    reason = f"The property '{name}' does not exist on type '{kind}'."
    return ServiceFault(faults.INVALID_REQUEST_BODY, (("Reason", reason),))


def _made_up(resource_id: str, kind: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind} of {resource_id.lower()}"))
