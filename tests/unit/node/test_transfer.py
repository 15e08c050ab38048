"""Large files by ranges and blocks, with the sizes brought down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.node.blob import Container
from snakemake_executor_azurebatch.node.download import Wanted, download
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.limits import MIB, MOST_BLOCKS, Limits
from snakemake_executor_azurebatch.node.upload import Upload, block_size, upload_file

from .harness import Site, md5_of

SMALL = Limits(workers=4, range_threshold_bytes=1000, range_bytes=700, block_bytes=1000, buffer_bytes=3000)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 25_003])
def test_what_goes_up_comes_down(store: Container, client: ContainerClient, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    stored = upload_file(store, str(tmp_path / "a"), "x/a b", SMALL)
    assert (stored.size_bytes, stored.md5) == (size, md5_of(data))
    blob = client.get_blob_client("x/a b")
    assert (blob.get_blob_properties().content_settings.content_md5 or b"").hex() == stored.md5
    committed, _ = blob.get_block_list("committed")
    assert len(committed) == (0 if size <= 1000 else -(-size // 1000))
    download(store, Wanted("a", "x/a b", size, stored.md5), str(tmp_path / "b"), SMALL)
    assert (tmp_path / "b").read_bytes() == data


def test_a_large_blob_of_another_content_or_size_is_refused(store: Container, tmp_path: Path) -> None:
    store.put("a", b"x" * 5000)
    with pytest.raises(StageError, match="has MD5"):
        download(store, Wanted("a", "a", 5000, "0" * 32), str(tmp_path / "a"), SMALL)
    with pytest.raises(StageError, match="has 5000 bytes, not 5001"):
        download(store, Wanted("a", "a", 5001, "0" * 32), str(tmp_path / "a"), SMALL)


def test_another_attempt_replaces_what_an_earlier_one_left_half_done(store: Container, client: ContainerClient) -> None:
    with Upload(store, "a", 2500, SMALL) as upload:
        upload.write(b"y" * 2500)
    assert not client.get_blob_client("a").exists()  # never finished
    with Upload(store, "a", 2500, SMALL) as upload:
        upload.write(b"z" * 2500)
        upload.finish()
    assert client.download_blob("a").readall() == b"z" * 2500


def test_an_error_of_a_block_reaches_the_caller(site: Site) -> None:
    reader = Container(site.url("r"))
    with (
        pytest.raises(StageError, match=r"PUT a: AuthorizationPermissionMismatch \(HTTP 403\)"),
        Upload(reader, "a", 10_000, SMALL) as upload,
    ):
        upload.write(b"x" * 10_000)
    reader.close()


def test_a_file_that_grows_while_it_is_read_is_refused(
    store: Container, client: ContainerClient, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    # So many blocks that the first has been sent, and the file has grown, before the last one is handed over.
    path.write_bytes(b"x" * 200_000)

    class Growing(Container):
        def put_block(self, name: str, block_id: str, data: bytes) -> None:
            with path.open("ab") as stream:
                stream.write(b"more")

    growing = Growing("http://127.0.0.1:1/c?sig=x")
    with pytest.raises(StageError, match="changed while it was read"):
        upload_file(growing, str(path), "a", SMALL)


def test_blocks_are_sized_to_the_file() -> None:
    limits = Limits()
    assert block_size(0, limits) == limits.block_bytes
    assert block_size(limits.block_bytes * MOST_BLOCKS, limits) == limits.block_bytes
    for size in (limits.block_bytes * MOST_BLOCKS + 1, 10 << 40, 190 << 40):
        block = block_size(size, limits)
        assert block % MIB == 0
        assert (block - MIB) * MOST_BLOCKS < size <= block * MOST_BLOCKS
    with pytest.raises(StageError, match="more than one blob can hold"):
        block_size(200 << 40, limits)
