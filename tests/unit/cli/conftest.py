"""An ``az`` that notes what it is asked, and answers what a test wants."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from snakemake_executor_azurebatch.cli.main import app

#: Made once: typer's own runner makes it anew for each call, which takes longer than most commands.
MADE = get_command(app)

_AZ = """#!/bin/sh
for each in "$@"; do printf '%s\\0' "$each"; done >> "$AZ_LOG"
printf '\\n' >> "$AZ_LOG"
case "$*" in
  $AZ_FAILS) echo "ERROR: $AZ_SAYS" >&2; exit 3;;
  "ad signed-in-user show"*) echo 11111111-2222-3333-4444-555555555555;;
  "account show"*) echo "Pay as you go";;
  "resource list"*) cat "$AZ_RESOURCES";;
  *"keys list"*) echo c2VjcmV0;;
  *) echo '{}';;
esac
"""


@dataclass(frozen=True)
class Az:
    folder: Path
    environment: dict[str, str]

    @property
    def asked(self) -> list[list[str]]:
        """The arguments of every call."""
        log = Path(self.environment["AZ_LOG"])
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        return [line.split("\0")[:-1] for line in lines]

    def has(self, *resources: tuple[str, str, str | None]) -> None:
        """What is in the resource group: name, type, who has made it."""
        listed = [{"name": name, "type": kind, "by": by} for name, kind, by in resources]
        Path(self.environment["AZ_RESOURCES"]).write_text(json.dumps(listed))


@pytest.fixture
def az(tmp_path, monkeypatch) -> Az:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "az").write_text(_AZ)
    (folder / "az").chmod(0o755)
    environment = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "AZ_LOG": str(tmp_path / "az.log"),
        "AZ_RESOURCES": str(tmp_path / "resources.json"),
        "AZ_FAILS": "nothing",
        "AZ_SAYS": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = Az(folder, environment)
    made.has()
    return made


@pytest.fixture(autouse=True)
def quick_calls(monkeypatch) -> None:
    """Calls of the one app without making its command again. Where typer has changed, they are slow."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: MADE, raising=False)
