"""Other people's clients, each in an environment of its own in the user's cache, installed once."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

#: The versions that are tested; another one gets a folder of its own.
AZURE_BATCH = "azure-batch==14.2.0"
AZURE_CLI = "azure-cli==2.91.0"
AZURE_BATCH_JS = "@azure/batch@10.2.0"


def python_with(requirement: str, *more: str) -> Path:
    """The Python of a virtual environment that has this package, by whose name it is known, and ``more``."""
    return _folder(requirement, lambda folder: _make_environment(folder, [requirement, *more])) / "bin/python"


def node_modules_with(package: str) -> Path:
    """The folder ``node_modules`` that has this package of npm."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", package]

    def install(folder: Path) -> None:
        (folder / "package.json").write_text("{}")
        _run(command, folder)

    return _folder(package, install) / "node_modules"


def _folder(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of a client; made under a lock, and believed once its mark is there."""
    root = user_cache_path("snakemake-azurebatch") / "clients"
    folder = root / name.replace("/", "-").replace("==", "-").lstrip("@").replace("@", "-")
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{folder.name}.lock"):
        mark = folder / "installed"
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            mark.touch()
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_environment(folder: Path, requirements: list[str]) -> None:
    """With uv where it is found, else with Python's own means."""
    python = str(folder / "bin/python")
    with suppress(FileNotFoundError, subprocess.CalledProcessError):
        _run(["uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)], folder)
        _run(["uv", "pip", "install", "--quiet", "--python", python, *requirements], folder)
        return
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], folder)
    _run([python, "-m", "pip", "install", "--quiet", *requirements], folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
