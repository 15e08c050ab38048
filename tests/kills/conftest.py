"""One local Batch service and one Azurite for all, behind gates; a workdir for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator import service as emulator

from .gate import Gate
from .lab import Lab, Storage, gates


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    storage = Storage(tmp_path_factory.mktemp("azurite"))
    yield storage
    storage.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.RunningService]:
    options = emulator.StartOptions(with_blobs=False)
    with emulator.start(tmp_path_factory.mktemp("service"), lifeline=True, options=options) as started:
        yield started.service


@pytest.fixture(scope="session")
def both_gates(service: emulator.RunningService, storage: Storage) -> Iterator[tuple[Gate, Gate]]:
    with gates(service, storage) as both:
        yield both


@pytest.fixture
def lab(
    tmp_path: Path, service: emulator.RunningService, storage: Storage, both_gates: tuple[Gate, Gate]
) -> Iterator[Lab]:
    lab = Lab(tmp_path / "work", service, storage, *both_gates)
    lab.lay_out()
    yield lab
    for gate in both_gates:
        gate.open()
