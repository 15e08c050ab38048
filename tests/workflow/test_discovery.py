"""Snakemake finds the plugin, from an editable install and from a wheel."""

import dataclasses
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.settings import ExecutorSettings

ROOT = Path(__file__).parents[2]
LIST_PLUGINS = (
    "from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry\n"
    "import snakemake_executor_plugin_azurebatch as ours\n"
    "print(ours.__file__, sorted(ExecutorPluginRegistry().plugins))"
)


def run(command: list[str], cwd: Path = ROOT, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_snakemakes_help_shows_every_setting():
    text = run([sys.executable, "-m", "snakemake", "--help"])

    for field in dataclasses.fields(ExecutorSettings):
        assert f"--azurebatch-{field.name.replace('_', '-')}" in text
    assert "no Azure account needed" in text


def test_the_registry_lists_the_plugin():
    assert "'azurebatch'" in run([sys.executable, "-c", LIST_PLUGINS])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The files of a wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_the_plugin_works_from_a_wheel(wheel):
    text = run([sys.executable, "-c", LIST_PLUGINS], cwd=wheel, PYTHONPATH=str(wheel))

    assert text.startswith(str(wheel))
    assert "'azurebatch'" in text


def test_the_wheel_holds_all_that_belongs_to_the_package(wheel):
    tracked = run(["git", "ls-files", "snakemake_executor_azurebatch", "snakemake_executor_plugin_azurebatch"])

    assert [name for name in tracked.splitlines() if not (wheel / name).is_file()] == []
