"""The storage plugins that the remote Snakemake finds, in a process of its own as the registry is one per process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol

pytest.importorskip("snakemake_storage_plugin_azure")
pytest.importorskip("snakemake_storage_plugin_fs")

HIDE = """
import pkgutil
found = pkgutil.iter_modules
pkgutil.iter_modules = lambda *a: (m for m in found(*a) if not m.name.startswith("snakemake_storage_plugin"))
"""

PREPARE = """
import sys
from snakemake_executor_azurebatch.node.storage_plugins import prepare_plugins
prepare_plugins()
from pathlib import Path
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry
plugin = StoragePluginRegistry().get_plugin("azure")
assert plugin.is_read_write() and plugin.settings_cls is None
assert "azure.storage.blob" not in sys.modules and "azure.identity" not in sys.modules
provider = plugin.storage_provider(local_prefix=Path("copies"), logger=None)
"""


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("hide", ["", HIDE], ids=["installed", "not installed"])
def test_the_stand_in_is_there_whether_the_plugin_is_or_not(tmp_path: Path, hide: str) -> None:
    """It knows the local copies, and loads nothing of Azure."""
    code = """
    one = provider.object("az://c/in/a b.txt")
    assert str(one.local_path()) == "copies/c/in/a b.txt"
    assert not one.exists() and one.mtime() == 0 and one.size() == 0 and one.keep_local
    one.local_path().parent.mkdir(parents=True)
    one.local_path().write_text("abc")
    assert one.exists() and one.size() == 3 and one.mtime() == one.local_path().stat().st_mtime
    one.store_object()
    one.touch()
    assert one.exists()
    one.remove()
    assert not one.exists()
    one.remove()
    assert provider.object("az://c/not-retrieved", retrieve=False).exists()
    assert list(provider.object("az://c/{x}").list_candidate_matches()) == []
    assert provider.is_valid_query("az://c/{x}.txt") and not provider.is_valid_query("s3://c/x")
    try:
        one.retrieve_object()
    except FileNotFoundError as error:
        assert "az://c/in/a b.txt was not staged for this job" in str(error)
    else:
        raise AssertionError
    """
    text = hide + PREPARE + "\n".join(line[4:] for line in code.splitlines())
    done = run(text, tmp_path, **{protocol.ENV_STAGED_PROVIDERS: "azure"})
    assert done.returncode == 0, done.stderr


def test_plugins_that_are_needed_and_missing_are_named(tmp_path: Path) -> None:
    code = "from snakemake_executor_azurebatch.node.storage_plugins import prepare_plugins; prepare_plugins()"
    done = run(code, tmp_path, **{protocol.ENV_TASK_PROVIDERS: "fs,does-not-exist"})
    assert done.returncode == 1
    assert "lacks snakemake-storage-plugin-does-not-exist, which" in done.stderr
    done = run(code, tmp_path, **{protocol.ENV_TASK_PROVIDERS: "fs"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_workflow_without_storage_loads_no_plugin_before_it_asks_for_one(tmp_path: Path) -> None:
    code = """
import sys
from snakemake_executor_azurebatch.node.storage_plugins import prepare_plugins
prepare_plugins()
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry
from snakemake_interface_common.exceptions import InvalidPluginException
registry = StoragePluginRegistry()
assert registry.get_registered_plugins() == []
assert not [name for name in sys.modules if name.startswith("snakemake_storage_plugin_")]
assert registry.get_plugin("fs").name == "fs"
assert "snakemake_storage_plugin_azure" not in sys.modules
assert {"fs", "azure"} <= {plugin.name for plugin in registry.plugins.values()}
try:
    registry.get_plugin("does-not-exist")
except InvalidPluginException as error:
    assert "snakemake-storage-plugin-does-not-exist is not installed" in str(error)
else:
    raise AssertionError
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
