"""A pool as Azure Resource Manager is asked for it, out of the request that Azure Batch itself would get (pure).

Both interfaces know the same properties; some stand elsewhere, are spelled otherwise, or have other capitals (source:
models of azure-mgmt-batch 19 and azure-batch 15, both of api-version 2025-06-01).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Texts with capitals, by the name of their member. What a user wrote is never among these members.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "type": ("DockerCompatible", "CriCompatible"),
    "nodeFillType": ("Spread", "Pack"),
    "caching": ("None", "ReadOnly", "ReadWrite"),
    "storageAccountType": ("Standard_LRS", "Premium_LRS", "StandardSSD_LRS"),
    "provision": ("BatchManaged", "UserManaged", "NoPublicIPAddresses"),
    "scope": ("Task", "Pool"),
    "elevationLevel": ("NonAdmin", "Admin"),
}
#: Members that keep name and place.
_AS_IT_IS = (
    *("vmSize", "taskSlotsPerNode", "taskSchedulingPolicy", "networkConfiguration", "metadata", "startTask"),
    "mountConfiguration",
)
_MACHINE, _FORMULA = "virtualMachineConfiguration", "autoScaleFormula"


def resource_of(request: Mapping[str, Any], identities: Iterable[str], tags: Mapping[str, str]) -> dict[str, Any]:
    """The body of the request. ``request``: of Azure Batch's own interface, as JSON.

    Raises KeyError for a member that has no place there: none may be lost.
    """
    properties: dict[str, Any] = {"scaleSettings": _scale_settings(request)}
    for name, value in request.items():
        if name in _AS_IT_IS:
            properties[name] = _spelled(value)
        elif name == _MACHINE:
            properties["deploymentConfiguration"] = {_MACHINE: _machine(value)}
        elif name not in _SCALE and name != "id":
            raise KeyError(name)
    body: dict[str, Any] = {"properties": properties}
    ids: dict[str, Any] = {identity: {} for identity in identities}
    if ids:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": ids}
    return {**body, "tags": dict(tags)} if tags else body


_SCALE = (
    *("targetDedicatedNodes", "targetLowPriorityNodes"),
    *("enableAutoScale", _FORMULA, "autoScaleEvaluationInterval"),
)


def _scale_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    if request.get("enableAutoScale"):
        interval = request["autoScaleEvaluationInterval"]
        return {"autoScale": {"formula": request[_FORMULA], "evaluationInterval": interval}}
    return {"fixedScale": {name: request.get(name, 0) for name in ("targetDedicatedNodes", "targetLowPriorityNodes")}}


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    spelled: dict[str, Any] = _spelled(machine)
    spelled["nodeAgentSkuId"] = spelled.pop("nodeAgentSKUId")
    return spelled


def _spelled(value: Any, name: str = "") -> Any:  # noqa: ANN401 (any JSON)
    if isinstance(value, Mapping):
        return {key: _spelled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_spelled(item, name) for item in value]
    return next((word for word in _WORDS.get(name, ()) if word.lower() == str(value).lower()), value)
