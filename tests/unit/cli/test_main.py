"""The command line without a running service."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.emulator import azurite_install, service


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv(service.STATE_DIR_VARIABLE, str(tmp_path / "state"))
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_version(run):
    shown = run("--version")
    assert (shown.exit_code, shown.stdout) == (
        0,
        f"snakemake-azurebatch {version('snakemake-executor-plugin-azurebatch')}\n",
    )


@pytest.mark.parametrize("arguments", [(), ("emulator",)])
def test_without_a_command_there_is_help(run, arguments):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert "Usage:" in shown.output


def test_status_says_that_nothing_runs(run):
    shown = run("emulator", "status")
    assert (shown.exit_code, shown.stdout) == (3, "No local Azure Batch service is running.\n")


def test_status_as_json(run, tmp_path):
    shown = run("emulator", "status", "--json")
    assert shown.exit_code == 3
    assert json.loads(shown.stdout) == {"running": False, "state_dir": str(tmp_path / "state")}


def test_stop_where_nothing_runs_is_no_error(run):
    shown = run("emulator", "stop")
    assert (shown.exit_code, shown.stdout) == (0, "No local Azure Batch service is running.\n")


def test_env_keeps_stdout_clean_where_nothing_runs(run):
    shown = run("emulator", "env")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == ("No local Azure Batch service is running. Start it: snakemake-azurebatch emulator start\n")


def test_an_unknown_shell_is_refused(run):
    shown = run("emulator", "env", "--shell", "tcsh")
    assert shown.exit_code == 2
    assert "'tcsh' is not one of 'bash'" in shown.stderr


def test_a_failed_start_is_told_without_a_traceback(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(azurite_install.CACHE_VARIABLE, str(tmp_path / "file"))
    shown = run("emulator", "start")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "could not be started: Azurite cannot be installed into" in shown.stderr
    assert "Traceback" not in shown.output


def test_start_names_a_state_directory_that_cannot_be(run, tmp_path):
    (tmp_path / "file").write_text("")
    shown = run("emulator", "start", "--state-dir", str(tmp_path / "file" / "x"))
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("The local service cannot use ")


def test_importing_the_command_loads_neither_aiohttp_nor_an_azure_sdk():
    script = (
        "import sys; import snakemake_executor_azurebatch.cli.main; "
        "print([name for name in sys.modules if name.split('.')[0] in ('aiohttp', 'azure', 'snakemake')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert shown.stdout == "[]\n"
