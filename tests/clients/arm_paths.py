"""Run by the Python of azure-cli: which paths of properties do its models of Azure Resource Manager not know?

stdin: a JSON mapping of resource type to paths, as properties.autoStorage.storageAccountId. stdout: the unknown ones.
"""

import importlib
import json
import re
import sys

MODELS = {
    "Microsoft.Batch/batchAccounts": ("azure.mgmt.batch.models", "BatchAccountCreateParameters"),
    "Microsoft.Batch/batchAccounts/pools": ("azure.mgmt.batch.models", "Pool"),
    "Microsoft.Storage/storageAccounts": ("azure.mgmt.storage.models", "StorageAccountCreateParameters"),
    "Microsoft.ContainerRegistry/registries": ("azure.mgmt.containerregistry.models", "Registry"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("azure.mgmt.msi.models", "Identity"),
    "Microsoft.Authorization/roleAssignments": ("azure.mgmt.authorization.models", "RoleAssignmentCreateParameters"),
}


def knows(module, model, path):
    """Whether a model has a property at this path, of names in JSON."""
    first, *rest = path
    if hasattr(model, "_attribute_map"):
        return _knows_old(module, model, path)
    kinds = dict(_fields(model))
    if first not in kinds:
        return False
    inner = _class_in(module, str(kinds[first]))
    return not rest or inner is None or knows(module, inner, rest)


def _fields(model):
    for parent in reversed(model.__mro__):
        for name, hint in vars(parent).get("__annotations__", {}).items():
            field = parent.__dict__.get(name)
            if hasattr(field, "_rest_name_input"):
                yield field._rest_name_input or name, hint


def _knows_old(module, model, path):
    """Keys of an attribute map are flattened: properties.autoStorage."""
    for entry in model._attribute_map.values():
        key = entry["key"].split(".")
        if path[: len(key)] == key:
            rest = path[len(key) :]
            inner = _class_in(module, entry["type"])
            if not rest or inner is None or rest == ["*"] or knows(module, inner, rest):
                return True
        if key[: len(path)] == path:
            return True
    return False


def _class_in(module, hint):
    for word in re.findall(r"\w+", hint):
        found = getattr(module, word, None)
        if isinstance(found, type) and (hasattr(found, "_attribute_map") or any(_fields(found))):
            return found
    return None


def unknown(kind, paths):
    """Those that the model of a resource type does not know."""
    module = importlib.import_module(MODELS[kind][0])
    model = getattr(module, MODELS[kind][1])
    return [path for path in paths if not knows(module, model, path.split("."))]


if __name__ == "__main__":
    print(json.dumps({kind: unknown(kind, paths) for kind, paths in json.load(sys.stdin).items()}))
