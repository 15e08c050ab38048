"""Snakemake as the stager runs it inside a task: the exit code that it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Command

from .harness import Site

SNAKEFILE = """
import subprocess

def fails(code):
    try:
        subprocess.run(["sh", "-c", f"exit {{code}}"], check=True)
    except subprocess.CalledProcessError:
        pass

def ring():
    try:
        raise ValueError("no")
    except ValueError as error:
        raise error from error

fails(7)  # as a Snakefile asks git for a version that is not there

rule a:
    output: "out"
    {directive}
"""
SHELL = 'shell: "exit 3"'
CAUGHT = 'run: fails(8); shell("exit 3")'
NO_COMMAND = 'run: fails(8); raise ValueError("no")'
RING = "run: ring()"  #: an exception that is its own cause


@pytest.mark.parametrize(("directive", "code"), [(SHELL, 3), (CAUGHT, 3), (NO_COMMAND, 1), (RING, 1)])
def test_it_ends_with_the_exit_code_of_the_command_that_ended_the_job(
    stager: Path, tmp_path: Path, directive: str, code: int
) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(directive=directive))
    pins = tmp_path / "pins.json"
    free = {"input": None, "names": {}, "storage": {}, "params": [], "param_names": {}}
    pins.write_text(json.dumps([{"rule": "a", "wildcards": {}, "output": ["out"], **free}]))
    own = {
        protocol.ENV_PYTHON: sys.executable,
        protocol.ENV_STAGER: str(stager),
        protocol.ENV_PINS: str(pins),
        protocol.ENV_SNAKEMAKE: snakemake.__version__,
    }
    argv = [sys.executable, str(stager), "snakemake", "-m", "snakemake", "--cores", "1", "out"]

    done = subprocess.run(argv, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr


def test_an_exit_code_of_a_former_start_is_gone(site: Site) -> None:
    site.wd.mkdir()
    (site.wd / "pins.json.exit").write_text("7")
    assert site.run(command=Command("snakemake", '[ ! -e "$SMK_STAGE_PINS.exit" ]')).exit_code == 0
