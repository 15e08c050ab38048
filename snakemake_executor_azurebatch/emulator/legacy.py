"""What the api-versions before 2025-06-01 have more than it, in bodies and in answers.

Certificates, cloud services, application licenses and authentication tokens are gone from the service
(source: public documentation); where they are asked for, that is refused. Empty ones ask for nothing.

Assumed: a pool shows the older members with their defaults, whatever communication mode was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from snakemake_executor_azurebatch.emulator.faults import not_emulated
from snakemake_executor_azurebatch.emulator.wire import Json, JsonValue

_REFUSED = {
    "applicationLicenses": "application licenses",
    "authenticationTokenSettings": "authentication tokens",
    "certificateReferences": "certificates",
    "cloudServiceConfiguration": "cloud services",
}
_IGNORED = frozenset({"targetNodeCommunicationMode", "resourceTags"})
#: Objects whose members are the caller's own.
_OPAQUE = frozenset({"settings", "protectedSettings"})
_SHOWN: Mapping[str, Json] = {
    "pools": {"certificateReferences": [], "targetNodeCommunicationMode": "default"},
}


def modernised(body: JsonValue) -> JsonValue:
    """A body of an older api-version as 2025-06-01 would have it. Raises ServiceFault (501)."""
    if isinstance(body, list):
        return [modernised(item) for item in body]
    if not isinstance(body, dict):
        return body
    for name, what in _REFUSED.items():
        if body.get(name):
            raise not_emulated(f"{what} ({name})")
    kept = {
        name: value if name in _OPAQUE else modernised(value)
        for name, value in body.items()
        if name not in _REFUSED and name not in _IGNORED
    }
    if "lun" in kept and "storageAccountType" in kept:  # a data disk
        kept["managedDisk"] = {"storageAccountType": kept.pop("storageAccountType")}
    return kept


def shown_before(kind: str, wire: Json) -> Json:
    """A resource as older api-versions show it; ``kind`` is ``pools``, ``jobs`` and so on."""
    return {**wire, **_SHOWN[kind]} if kind in _SHOWN else wire
