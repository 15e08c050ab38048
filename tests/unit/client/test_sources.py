"""What Snakemake names as sources of a workflow, and what of it goes to the nodes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
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


def call(project: Path, start: Path, script: str | None = None, say: Callable[[str], None] = pytest.fail) -> RemoteCall:
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
    return RemoteCall(workflow, start, say)


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


def test_names_are_those_that_git_tracks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"scripts/größe.R", 'a "b"\n\\c', os.fsdecode(b"latin-\xe9")}
    for name in names:
        write(project / name)
    git(project, "add", ".")
    monkeypatch.chdir(project)

    assert sources(project, project) == {"Snakefile", *names}


def test_without_git(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "scripts" / "a.py")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(project)
    said: list[str] = []
    asked = call(project, project, "scripts/a.py", said.append)

    for _ in range(2):
        assert asked.sources([]) == [project / "Snakefile", project / "scripts/a.py"]
    assert said == ["What git tracks does not go to the nodes: git cannot be started (No such file or directory)."]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("not a git repository (or any of the parent directories): .git", []),
        (
            "detected dubious ownership",
            ["What git tracks does not go to the nodes: fatal: detected dubious ownership"],
        ),
    ],
)
def test_git_that_tells_nothing_is_understood_in_any_language(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, told: list[str]
) -> None:
    """It speaks English if it is asked to."""
    text = f"#!/bin/sh\n[ \"$LC_ALL\" = C ] && echo 'fatal: {reason}' >&2 || echo 'Schwerwiegend' >&2\nexit 128\n"
    write(tmp_path / "bin" / "git", text).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.chdir(project)
    said: list[str] = []

    assert call(project, project, say=said.append).sources([]) == [project / "Snakefile"]
    assert said == told
