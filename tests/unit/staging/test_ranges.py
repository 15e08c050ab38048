"""Blobs that come in ranges, and digests that are made side by side."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from snakemake_executor_azurebatch.staging import digests
from snakemake_executor_azurebatch.staging.ranges import RANGE_BYTES, Received, receive


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def fetched(store, content: bytes, expected_bytes: int) -> tuple[Received, bytes, int]:
    """What was received of a blob, what was written, and how much was told of."""
    store.upload_bytes("some", content)
    told: list[int] = []
    out = io.BytesIO()
    with ThreadPoolExecutor(2) as pool:
        received = receive(store.container.get_blob_client("some"), expected_bytes, out, pool, told.append)
    return received, out.getvalue(), sum(told)


@pytest.mark.parametrize("size_bytes", [0, 1, RANGE_BYTES, RANGE_BYTES + 1, 5 * RANGE_BYTES + 3])
def test_all_bytes_come_in_order(store, size_bytes):
    content = os.urandom(size_bytes)

    assert fetched(store, content, size_bytes) == (Received(size_bytes, md5_of(content)), content, size_bytes)


@pytest.mark.parametrize(
    ("size_bytes", "expected_bytes"), [(3, 2), (0, 1), (3, RANGE_BYTES + 1), (RANGE_BYTES + 2, RANGE_BYTES + 1)]
)
def test_nothing_is_written_of_a_blob_of_another_size(store, size_bytes, expected_bytes):
    assert fetched(store, b"x" * size_bytes, expected_bytes) == (Received(size_bytes, ""), b"", 0)


@pytest.mark.parametrize("more_bytes", [-1, 0, 3 * digests.LARGE_PIECE_BYTES + 1])
def test_digests_of_a_file_are_the_same_however_they_are_made(tmp_path, more_bytes):
    content = os.urandom(digests.SIDE_BY_SIDE_BYTES + more_bytes)
    (tmp_path / "large").write_bytes(content)

    found = digests.of_file(tmp_path / "large")

    assert found == digests.Digests(hashlib.sha256(content).hexdigest(), md5_of(content), len(content))
