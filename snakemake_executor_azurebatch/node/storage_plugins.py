"""The storage plugins of the remote Snakemake: stand-ins where the stager moves files, else the image's own."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Dict, List

from . import protocol

#: source: snakemake-interface-storage-plugins, ``common.storage_plugin_module_prefix``.
PREFIX = "snakemake_storage_plugin_"


def prepare_plugins() -> None:
    """Put the stand-ins in place and see that the other plugins are there. Ends the process where one is not."""
    staged, needed = _names(protocol.ENV_STAGED_PROVIDERS), _names(protocol.ENV_TASK_PROVIDERS)
    if staged:
        from . import standin_plugin

        for name in staged:
            # Before the registry imports what it finds: the real plugin would load its SDK for nothing.
            sys.modules[PREFIX + name.replace("-", "_")] = standin_plugin
    if staged or needed:
        from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

        registry = StoragePluginRegistry()
        for name in staged:
            registry.register_plugin(PREFIX + name, standin_plugin)
        _require([name for name in needed if not registry.is_installed(name)])
    else:
        _load_on_demand()


def _load_on_demand() -> None:
    """Let the registry import a plugin when it is asked for, as a workflow without storage never does.

    It would import all that the image has, with the SDKs of several clouds, before the job starts.
    """
    try:
        from snakemake_interface_storage_plugins.registry import StoragePluginRegistry
    except ImportError:
        return  # whatever Snakemake this is, it finds its plugins itself
    registry = StoragePluginRegistry.__new__(StoragePluginRegistry)  # the only one; __init__ would collect
    if not hasattr(registry, "plugins"):
        registry.plugins = OnDemand(registry)


class OnDemand(Dict[str, Any]):
    """The plugins of a registry by name; ``values`` is all that are installed, as to find whose a query is."""

    def __init__(self, registry: Any) -> None:  # noqa: ANN401 (Snakemake's)
        super().__init__()
        self._registry = registry

    def __missing__(self, name: str) -> Any:  # noqa: ANN401 (Snakemake's)
        full = PREFIX + name.replace("-", "_")
        try:
            module = import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:  # it is there, and lacks something itself
                raise
            raise KeyError(name) from None
        self._registry.validate_plugin(name, module)
        self[name] = self._registry.load_plugin(name, module)
        return self[name]

    def values(self) -> Any:  # noqa: ANN401 (a view)
        """All of them, loaded."""
        for found in iter_modules():
            if found.ispkg and found.name.startswith(PREFIX):
                self[found.name[len(PREFIX) :].replace("_", "-")]
        return super().values()


def _require(missing: List[str]) -> None:
    if missing:
        packages = ", ".join("snakemake-storage-plugin-" + name for name in missing)
        sys.exit(
            "the task's Python (%s) lacks %s, which this workflow uses. Files of this storage are moved by "
            "the plugin, in the task: the container image (--container-image) needs it." % (sys.executable, packages)
        )


def _names(variable: str) -> List[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name]
