"""A cancelled run does not wait for large transfers."""

import os

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import StoredFile
from snakemake_executor_azurebatch.staging.store import ONE_REQUEST_BYTES, BlobStore


def test_an_upload_of_blocks_ends_without_a_blob(store: BlobStore, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(os.urandom(ONE_REQUEST_BYTES + 1))
    store.abort()

    with pytest.raises(StagingError, match="the run was cancelled"):
        store.upload_file(large, "inputs/large")

    assert store.describe("inputs/large") is None


def test_a_download_ends_and_leaves_nothing(store: BlobStore, tmp_path):
    content = os.urandom(1000)
    large = tmp_path / "large"
    large.write_bytes(content)
    found = store.upload_file(large, "inputs/large")
    store.abort()

    with pytest.raises(StagingError, match="the run was cancelled"):
        store.download(StoredFile("x", "inputs/large", found.size_bytes, found.md5), tmp_path / "back" / "x")

    assert list((tmp_path / "back").iterdir()) == []
