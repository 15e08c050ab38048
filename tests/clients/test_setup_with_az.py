"""``setup`` and ``teardown`` before other people's eyes: az's own parser, and Microsoft's models of the resources."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.provisioning.names import Names
from snakemake_executor_azurebatch.provisioning.profile import template_path
from snakemake_executor_azurebatch.provisioning.steps import (
    Principal,
    Step,
    delete_step,
    key_steps,
    list_step,
    quota_step,
    setup_steps,
    sign_in,
)
from tests.unit.cli import bicep

from . import installed

NAMES = Names("westeurope", "mylab", "mylab", "mylab", "mylabimages", "mylab-nodes")
STEPS = [
    *sign_in("subscription")[1:],  # az login would ask somebody
    *setup_steps(NAMES, str(template_path()), Principal()),
    quota_step(NAMES),
    *key_steps(NAMES),
    list_step("mylab"),
    delete_step("mylab"),
]
#: What az answers to a command that it cannot parse.
EXIT_USAGE = 2
#: Of Bicep itself, not of a resource.
OF_BICEP = {"name", "parent", "scope", "dependsOn"}


@pytest.fixture(scope="module")
def python() -> Path:
    return installed.python_with(installed.AZURE_CLI)


def az(python: Path, arguments: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Nobody is signed in: what is well formed is refused for that."""
    environment = {**os.environ, "AZURE_CONFIG_DIR": str(folder), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
    command = [str(python.parent / "az"), *arguments]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.clients
@pytest.mark.parametrize("step", STEPS, ids=lambda step: " ".join(step.az[:3]))
def test_az_can_parse_it(python: Path, tmp_path: Path, step: Step):
    done = az(python, step.az, tmp_path)
    assert done.returncode not in (0, EXIT_USAGE), done.stderr


@pytest.mark.clients
def test_az_refuses_what_it_cannot_parse(python: Path, tmp_path: Path):
    assert az(python, ("group", "create", "--nonsense", "x"), tmp_path).returncode == EXIT_USAGE


@pytest.mark.clients
def test_the_models_of_azure_know_every_property(python: Path):
    paths: dict[str, list[str]] = {}
    for resource in bicep.resources():
        paths.setdefault(resource.type, []).extend(resource.paths - OF_BICEP)
    asked = {kind: [*found, "properties.nonsense"] for kind, found in paths.items()}
    script = Path(__file__).with_name("arm_paths.py")
    done = subprocess.run([python, script], input=json.dumps(asked), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {kind: ["properties.nonsense"] for kind in paths}
