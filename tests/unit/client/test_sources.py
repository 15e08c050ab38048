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


def test_what_was_edited_is_told_shortly(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [write(project / f"lib/{name}.py") for name in "abcde"]
    monkeypatch.chdir(project)
    asked = call(project, project, "plot.py")
    taken = build_archive(scripts).members
    assert asked.edited(taken) == ""
    for script in scripts:
        write(script, "edited")
    assert asked.edited(taken).startswith("Changed while this run went on: lib/a.py, lib/b.py, lib/c.py and 2 more. ")


def test_a_link_to_a_folder_brings_what_is_there_but_no_data(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git tracks the links only: what they lead to is not below this folder, or not tracked."""
    for file in (project / "shared/tool.py", tmp_path / "common/util.py", project / "data/known.py"):
        write(file)
    os.truncate(write(project / "data/large"), 51 << 20)
    links = {"tools": "shared", "common": "../../common", "inputs": "data"}
    for name, target in links.items():
        (project / name).symlink_to(target)
    git(project, "add", "Snakefile", "data/known.py", *links)
    monkeypatch.chdir(project)
    said: list[str] = []
    asked = call(project, project, say=said.append)

    for _ in range(2):
        found = {os.path.relpath(path, project) for path in asked.sources([])}
        assert found == {"Snakefile", "tools/tool.py", "common/util.py", "data/known.py", "inputs/known.py"}
    [told] = said
    assert told == (
        f"{project}/inputs leads to more than scripts need, and does not go to the nodes. Give what jobs read there as "
        "their input, or name it with --azurebatch-extra-files."
    )


def with_a_job(asked: RemoteCall, **files: list[str]) -> RemoteCall:
    """The same, of a workflow with a job that has these inputs and outputs."""
    dag = asked._workflow.dag
    listed = dag.get_sources()
    dag.get_sources = lambda: listed
    dag.jobs = [SimpleNamespace(**{"input": [], "output": [], "log": [], "benchmark": None, **files})]
    dag.jobs[0].rule = asked._workflow.rules[0]
    return asked


def test_large_inputs_are_no_sources_though_git_tracks_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"data/ref.fa": 600 << 20, "data/set/part": 600 << 20, "data/small": 9, "other": 11 << 20}
    for name, size_bytes in sizes.items():
        os.truncate(write(project / name), size_bytes)
    git(project, "add", "-N", ".")
    monkeypatch.chdir(project)
    asked = with_a_job(call(project, project), input=["data/ref.fa", "data/set", "data/small"])

    found = {os.path.relpath(path, project) for path in asked.sources([])}

    assert found == {"Snakefile", "data/small", "other"}


def test_what_parsing_reads_is_a_source_also_where_a_job_makes_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ["config/samples.tsv", "results/table.tsv"]
    for name in made:
        write(project / name)
    git(project, "add", ".")
    monkeypatch.chdir(project)
    asked = with_a_job(call(project, project), output=made)
    monkeypatch.setattr(asked, "_read_while_parsing", lambda: {project / "config/samples.tsv"})

    found = {os.path.relpath(path, project) for path in asked.sources([])}

    assert found == {"Snakefile", "config/samples.tsv"}


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
