"""Which files count as read by a Snakefile while it is parsed."""

import py_compile
from importlib.util import cache_from_source
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.sourcecache import LocalSourceFile

from snakemake_executor_azurebatch import parse_reads
from snakemake_executor_azurebatch.parse_reads import PARSE_READS
from snakemake_executor_azurebatch.remote_call import RemoteCall
from snakemake_executor_azurebatch.settings import ExecutorSettings


@pytest.fixture
def heard():
    """Listening, as it is when Snakemake has made the settings."""
    ExecutorSettings()
    yield PARSE_READS
    PARSE_READS.stop()


def including(statement: str) -> None:
    """Run ``statement`` below a function that looks like the one of Snakemake that includes a Snakefile."""
    code = compile(f"def include():\n    {statement}\n", "/lib/snakemake/workflow.py", "exec")
    names: dict = {"Path": Path}
    exec(code, names)  # noqa: S102 (the only way to a function of another file)
    names["include"]()


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_snakefile_reads_is_found_and_nothing_else(heard, tmp_path):
    read, written, other = (write(tmp_path / name) for name in ("read.csv", "written.csv", "other.csv"))

    including(f"Path({str(read)!r}).read_text(); Path({str(written)!r}).write_text('y')")
    other.read_text()

    assert heard.below([tmp_path]) == {read}


def test_only_below_the_folders_and_nothing_of_snakemake_or_git(heard, tmp_path):
    inside = write(tmp_path / "in/a.csv")
    for path in (
        inside,
        write(tmp_path / "out/b.csv"),
        write(tmp_path / "in/.snakemake/c"),
        write(tmp_path / "in/.git/d"),
    ):
        including(f"Path({str(path)!r}).read_text()")

    assert heard.below([tmp_path / "in"]) == {inside}


def test_a_compiled_module_stands_for_its_source(heard, tmp_path):
    module = write(tmp_path / "helper.py", "a = 1\n")
    py_compile.compile(str(module), doraise=True)

    including(f"Path({cache_from_source(str(module))!r}).read_bytes()")

    assert heard.below([tmp_path]) == {module}


def test_large_files_are_data_and_removed_ones_are_gone(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(parse_reads, "MAX_FILE_BYTES", 3)
    large, gone = write(tmp_path / "large", "four"), write(tmp_path / "gone")
    for path in (large, gone):
        including(f"Path({str(path)!r}).read_text()")
    gone.unlink()

    assert heard.below([tmp_path]) == set()


def test_each_workflow_begins_anew_and_ends(heard, tmp_path):
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    including(f"Path({str(first)!r}).read_text()")
    ExecutorSettings()
    heard.stop()
    including(f"Path({str(second)!r}).read_text()")

    assert heard.below([tmp_path]) == set()


def test_results_of_the_workflow_are_no_sources(heard, tmp_path, monkeypatch):
    """Neither those that a Snakefile reads, nor those that git tracks: see ``test_sources`` for those that are both."""
    monkeypatch.chdir(tmp_path)
    sheet, made, inside = (write(tmp_path / name) for name in ("sheet.csv", "made.txt", "folder/inside.txt"))
    for path in (sheet, made, inside):
        including(f"Path({str(path)!r}).read_text()")
    results = ["figure.svg", "folder/tracked.txt", "logs/made.log", "bench.tsv", "made.yaml", "removed.txt"]
    job = SimpleNamespace(
        output=["made.txt", "folder", "figure.svg", "made.yaml", "removed.txt", "Snakefile"],
        log=["logs/made.log"],
        benchmark="bench.tsv",
        rule=SimpleNamespace(script=None, notebook=None),
    )
    workflow = SimpleNamespace(
        main_snakefile="Snakefile",
        config_settings=SimpleNamespace(config_args=None),
        workflow_settings=SimpleNamespace(wrapper_prefix=None),
        included=[LocalSourceFile("Snakefile")],
        configfiles=["made.yaml"],
        rules=[],
        dag=SimpleNamespace(jobs=[job], get_sources=lambda: {"Snakefile", "tracked.py", *results}),
    )

    sources = RemoteCall(workflow, tmp_path, print).sources([])

    parsed = {tmp_path / "Snakefile", tmp_path / "made.yaml"}
    assert set(sources) == {sheet, tmp_path / "tracked.py"} | parsed, "without configuration no node could parse it"
