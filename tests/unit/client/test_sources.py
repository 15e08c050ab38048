"""What Snakemake names as sources of a workflow, and what of it goes to the nodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake.api  # noqa: F401  (the modules of Snakemake import each other: this one first)
from snakemake.dag import DAG
from snakemake.sourcecache import LocalSourceFile

from snakemake_executor_azurebatch.remote_call import RemoteCall
from snakemake_executor_azurebatch.staging.archive import build_archive


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def call(project: Path, start: Path, script: str | None = None) -> RemoteCall:
    """Of a workflow in ``project`` that has one rule, with this script."""
    rule = SimpleNamespace(script=script, notebook=None, wrapper=None, basedir=LocalSourceFile(str(project)))
    workflow = SimpleNamespace(
        main_snakefile=str(project / "Snakefile"),
        config_settings=SimpleNamespace(config_args=None),
        workflow_settings=SimpleNamespace(wrapper_prefix=None),
        included=[LocalSourceFile(str(project / "Snakefile"))],
        configfiles=[],
        rules=[rule],
    )
    workflow.dag = SimpleNamespace(workflow=workflow, jobs=[])
    workflow.dag.get_sources = lambda: DAG.get_sources(workflow.dag)
    return RemoteCall(workflow, start)


def sources(project: Path, start: Path, script: str | None = None) -> set[str]:
    return {os.path.relpath(path, project) for path in call(project, start, script).sources([]) if path.exists()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Below a folder whose own name says nothing about its sources."""
    folder = tmp_path / ".snakemake" / "project"
    write(folder / "Snakefile")
    git(folder, "init", "-q")
    return folder


def test_a_script_beside_the_snakefile_brings_no_secrets_and_no_state(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = project / "run1"
    write(start / ".snakemake" / "azurebatch" / "ledger.sqlite")
    write(project / "__pycache__" / "plot.cpython-311.pyc")
    for name in ("plot.py", "lib/helper.py"):
        write(project / name)
    monkeypatch.chdir(start)

    found = sources(project, start, "plot.py")
    before = build_archive(call(project, start, "plot.py").sources([])).sha256
    write(start / ".snakemake" / "azurebatch" / "ledger.sqlite", "another state")

    assert found == {"Snakefile", "plot.py", "lib/helper.py"}
    assert build_archive(call(project, start, "plot.py").sources([])).sha256 == before


def test_a_link_to_a_folder_brings_sources_and_no_data(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shared/tool.py", "data/large"):
        write(project / name)
    (project / "tools").symlink_to("shared")
    (project / "inputs").symlink_to("data")
    git(project, "add", "Snakefile", "shared", "tools", "inputs")
    monkeypatch.chdir(project)

    assert sources(project, project) == {"Snakefile", "shared/tool.py", "tools/tool.py"}
