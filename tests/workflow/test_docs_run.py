"""The pages' own blocks: copied into a fresh folder in their order, they do what the page says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator.service import STATE_DIR_VARIABLE
from tests.workflow.docs_blocks import PAGES, ROOT, blocks

#: Pages that are run from top to bottom. Of the others, the syntax is checked.
RUN = ("tutorial.md", "profiles.md", "costs.md", "how-it-works.md", "azure-first-run.md", "contributing.md")
RUNNABLE = [ROOT / "docs" / name for name in RUN]


def bash(text: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=540,
    )  # fmt: skip


@pytest.fixture
def variables(service) -> dict[str, str]:
    """A user's, with this environment in front, and with the session's service as the user's own."""
    dropped = ("AZURE", "BATCH", "STORAGE", "SNAKEMAKE_PROFILE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, STATE_DIR_VARIABLE: str(service.state_dir), "COLUMNS": "200"}


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page, tmp_path, variables):
    folder, printed = tmp_path / "work", ""
    folder.mkdir()
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.is_file:
            (folder / block.word).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.word).write_text(block.text)
        elif block.is_run:
            done = bash(block.text, folder, variables)
            printed = done.stdout
            assert (done.returncode != 0) == (block.word == "fails"), f"{where}\n{printed}"
        elif block.language == "text" and block.follows_bash:
            for line in block.text.splitlines():
                assert line in printed, f"{where}: {line!r} is not in\n{printed}"


def test_every_page_that_is_run_has_something_to_run():
    assert [page.name for page in RUNNABLE if not any(block.is_run for block in blocks(page))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_bash_in_pages_has_no_errors(page, tmp_path):
    wrong = []
    for block in blocks(page):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            wrong += [f"{page.name}:{block.line}: {done.stderr}"] if done.returncode else []
    assert wrong == []
