"""Workflows that use Snakemake's features: the same files with the same bytes as the local executor makes.

Each folder of ``features/`` is one workflow; the first line of its Snakefile says what it shows.
"""

import json
import shutil
from pathlib import Path

import pytest

FEATURES = Path(__file__).parent / "features"
#: What differs between any two runs: state, and figures of a benchmark.
NOT_COMPARED = (".snakemake", "bench", "__pycache__")
#: What the workflows need beside Snakemake.
PACKAGES = {"tables": "pandas"}
PROGRAMS = {"notebooks": "papermill", "rscripts": "Rscript"}
#: What Snakemake runs again each time, wherever it runs, because of what the workflow says.
NEVER_DONE = ("before_update", "group_local")

#: A process for each job takes a second; but threads cannot be in different shadow folders.
QUICKLY, CHANGES_FOLDER = ("--force-use-threads",), "shadows"

#: What is run each time; all the others, and all with Snakemake in every task, by tests/run all.
AT_LEAST = ("checkpoints", "folders", "groups", "links", "modules", "shadows", "values")
ALL = sorted(path.name for path in FEATURES.iterdir())


def printed(notebook: Path) -> list[str]:
    """What the cells printed; the rest of an executed notebook holds times and paths."""
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(output.get("text", "")) for cell in cells for output in cell["outputs"]]


def snapshot(folder: Path) -> dict[str, object]:
    """Every path below: the bytes of files, the target of links, whether a file can be run."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if set(name.parts) & set(NOT_COMPARED) or name.name == ".snakemake_timestamp":
            continue
        if path.is_symlink():
            found[str(name)] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[str(name)] = "folder"
        elif path.suffix == ".ipynb":
            found[str(name)] = printed(path)
        else:
            found[str(name)] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def is_content(workdir) -> bool:
    """Whether Snakemake finds nothing to do."""
    return "Nothing to be done" in workdir.run_locally("-n").must_succeed().text


@pytest.mark.parametrize(
    ("name", "lane"),
    [
        *((name, "auto") for name in AT_LEAST),
        *(pytest.param(name, "auto", marks=pytest.mark.long) for name in ALL if name not in AT_LEAST),
        *(pytest.param(name, "snakemake", marks=pytest.mark.long) for name in ALL),
    ],
)
def test_a_feature_makes_the_same_bytes(name, lane, workdir):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None:
        pytest.skip(f"{PROGRAMS[name]} is not installed")
    shutil.copytree(FEATURES / name, workdir.path, dirs_exist_ok=True)
    twin = type(workdir)(workdir.path.parent / "locally", workdir.service)
    shutil.copytree(FEATURES / name, twin.path)

    workdir.run("--azurebatch-lane", lane).must_succeed()
    twin.run_locally(*(() if name == CHANGES_FOLDER else QUICKLY)).must_succeed()

    assert snapshot(workdir.path) == snapshot(twin.path)
    if name in NEVER_DONE:
        assert not is_content(twin)
        assert not is_content(workdir)
    else:
        workdir.nothing_to_do()
