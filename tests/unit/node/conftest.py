"""A blob container for every test, the stager as it is shipped, and every Python that it promises to run on."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.node.blob import Container
from snakemake_executor_azurebatch.node.limits import RetryPolicy
from snakemake_executor_azurebatch.staging.bundle import build_stager

from .harness import Site

PROMISED = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def _pythons() -> dict[str, str]:
    """One interpreter for each promised version that this machine has."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for version in PROMISED:
        own = sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
        path = str(own[-1]) if own else shutil.which(f"python{version}")
        if path:
            found.setdefault(version, path)
    return {version: found[version] for version in PROMISED if version in found}


PYTHONS = _pythons()


@pytest.fixture(scope="session")
def stager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stager") / "stager.pyz"
    path.write_bytes(build_stager())
    return path


@pytest.fixture
def client(azurite: Azurite) -> Iterator[ContainerClient]:
    with ContainerClient(azurite.blob_url, f"smk-{uuid.uuid4().hex}", credential=azurite.key) as client:
        client.create_container()
        yield client


@pytest.fixture
def site(azurite: Azurite, client: ContainerClient, stager: Path, tmp_path: Path) -> Site:
    task_dir = tmp_path / "t1"
    task_dir.mkdir()
    return Site(client, azurite.key, task_dir, stager)


@pytest.fixture
def store(site: Site) -> Iterator[Container]:
    """The stager's own view of the blob container, for tests of its parts; fails fast."""
    store = Container(site.url("rcw"), RetryPolicy(attempts=2, first_wait_s=0.01))
    yield store
    store.close()


@pytest.fixture(params=list(PYTHONS))
def python(request: pytest.FixtureRequest) -> str:
    return PYTHONS[request.param]


@pytest.fixture
def started(tmp_path: Path) -> Callable[[], str]:
    """Waits until the command writes a line to the pipe ``started``."""
    path = tmp_path / "started"
    os.mkfifo(path)

    def wait() -> str:
        with path.open() as pipe:
            return pipe.readline().strip()

    return wait
