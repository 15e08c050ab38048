"""A blob container of its own for every test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, FILE, StoredFile
from snakemake_executor_azurebatch.staging import digests
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers


@pytest.fixture
def container(azurite: Azurite) -> Iterator[ContainerClient]:
    with ContainerClient(azurite.blob_url, f"smk-{uuid.uuid4().hex}", credential=azurite.key) as client:
        yield client


@pytest.fixture
def store(container: ContainerClient) -> Iterator[BlobStore]:
    store = BlobStore(container)
    store.ensure()
    yield store
    store.close()


@pytest.fixture
def index(tmp_path: Path, store: BlobStore) -> Iterator[Index]:
    index = Index(tmp_path / "state" / "index.sqlite", store.ensure())
    yield index
    index.close()


@pytest.fixture
def transfers(store: BlobStore, index: Index) -> Iterator[Transfers]:
    transfers = Transfers(store, index)
    yield transfers
    transfers.close()


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    workdir = tmp_path / "work dir"
    workdir.mkdir()
    return workdir


@dataclass(frozen=True)
class Node:
    """Stands for the stager: leaves blobs and says what it left."""

    store: BlobStore

    def leaves(self, path: str, content: bytes, kind: str = FILE, mode: int = 0o644) -> StoredFile:
        blob = f"tasks/t1/{uuid.uuid4().hex}"
        self.store.upload_bytes(blob, content)
        return StoredFile(path, blob, len(content), digests.of_pieces([content]).md5, mode, kind)


@pytest.fixture
def node(store: BlobStore) -> Node:
    return Node(store)


def wanted(workdir: Path, path: str) -> NeededFile:
    local = workdir / path
    return NeededFile(path, local, DIRECTORY if local.is_dir() else FILE)


def stored(path: str, ref: BlobRef) -> StoredFile:
    return StoredFile(path, ref.blob, ref.size_bytes, ref.md5, ref.mode, ref.kind)


def blob_names(store: BlobStore, prefix: str = "") -> list[str]:
    return [str(name) for name in store.container.list_blob_names(name_starts_with=prefix)]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
