"""The doctor, in a folder with a profile that is right."""

import pytest
from typer.main import get_command

from snakemake_executor_azurebatch.cli.main import app
from tests.workflow.doctor.office import Office

#: Made once: typer's own runner makes it anew for each call.
MADE = get_command(app)


@pytest.fixture(autouse=True)
def quick_calls(monkeypatch) -> None:
    """Where typer has changed, calls are slow."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: MADE, raising=False)


@pytest.fixture
def office(tmp_path, service, monkeypatch) -> Office:
    made = Office(tmp_path, service, monkeypatch)
    made.profile()
    return made
