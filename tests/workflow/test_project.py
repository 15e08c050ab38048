"""The project's outside agrees with its inside: profiles, documents, versions, what an import costs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakemake_executor_azurebatch import __version__
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.settings import ExecutorSettings

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "azurebatch-"
PROFILES = sorted((ROOT / "profiles").glob("*/config.yaml"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {PREFIX + field.name.replace("_", "-"): field for field in fields(ExecutorSettings)}
ACCOUNTS = {
    "BATCH_ACCOUNT_URL": "https://account.westeurope.batch.azure.com",
    "STORAGE_ACCOUNT_NAME": "account",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def profile_of(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict), f"{path} is no mapping"
    return content


def settings_of(profile: dict[str, Any]) -> ExecutorSettings:
    chosen = {key: value for key, value in profile.items() if key.startswith(PREFIX)}
    return ExecutorSettings(**{SETTINGS[key].name: value for key, value in chosen.items()})


def test_both_profiles_are_there():
    assert [path.parent.name for path in PROFILES] == ["azure", "emulator"]


@pytest.mark.parametrize("path", PROFILES, ids=name_of)
def test_a_profile_uses_settings_that_exist(path):
    named = set(re.findall(rf"^(?:# )?({PREFIX}[a-z-]+):", path.read_text(), re.MULTILINE))

    assert named, "no azurebatch setting in this profile"
    assert sorted(named - set(SETTINGS)) == []


@pytest.mark.parametrize("path", PROFILES, ids=name_of)
def test_a_profile_runs_as_it_stands(path):
    profile = profile_of(path)
    options = read_options(settings_of(profile), ACCOUNTS)

    assert profile["executor"] == "azurebatch"
    assert options.emulator is (path.parent.name == "emulator")
    assert profile["jobs"] >= options.pool.task_slots_per_node * options.pool.dedicated_nodes


@pytest.mark.parametrize("path", PROFILES, ids=name_of)
def test_snakemake_reads_a_profile_as_it_is_meant(path, tmp_path):
    code = (
        "import json, sys; from snakemake.cli import parse_args;"
        "_, options = parse_args(['--profile', sys.argv[1]]);"
        "print(json.dumps(vars(options), default=str))"
    )
    command = [sys.executable, "-c", code, str(path.parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr

    read = json.loads(result.stdout)
    for key, value in profile_of(path).items():
        found = read[key.replace("-", "_")]
        if value is False:  # Snakemake passes a flag that is off on as "not given"
            assert found is not True, key
        elif key.startswith(PREFIX) or key == "executor":
            assert found == value, key


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", path.read_text())
    targets = [link.partition("#")[0] for pair in links for link in pair if link and "://" not in link]

    assert [target for target in targets if target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documents_name_settings_that_exist(path):
    named = set(re.findall(rf"--({PREFIX}[a-z-]*[a-z])", path.read_text()))

    assert sorted(named - set(SETTINGS)) == []


def test_every_setting_is_in_the_reference_with_its_default():
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| ([^|]*) \|", (ROOT / "docs/further.md").read_text(), re.MULTILINE))

    assert sorted(rows) == sorted(SETTINGS)
    for name, field in SETTINGS.items():
        if field.type in (str, int, float) and field.default is not None:
            assert rows[name] == f"`{field.default:g}`" if field.type is float else f"`{field.default}`", name


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_in_documents_compiles(path):
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)):
        compile(block, f"{path.name}, Python block {number + 1}", "exec")


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert __version__ == project["version"]
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", ["example_workflow/run", "example_languages/run", "tests/run", ".ci/run"])
def test_commands_can_be_started(path):
    assert os.access(ROOT / path, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / path], check=True, timeout=60)


def test_discovery_loads_little():
    """Snakemake imports every installed plugin at every start, whatever the executor."""
    code = (
        "import sys, snakemake_executor_plugin_azurebatch;"
        "loaded = sorted(name for name in sys.modules if name.startswith(('azure', 'snakemake_executor')));"
        "print(*loaded, sep='\\n')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert result.stdout.split() == [
        "snakemake_executor_azurebatch",
        "snakemake_executor_azurebatch.parse_reads",
        "snakemake_executor_azurebatch.settings",
        "snakemake_executor_plugin_azurebatch",
    ]
