from __future__ import annotations

import io
import os
import socket
import tarfile
import time
import uuid
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.errors import AccessRefused, NotFound, ServiceUnreachable, StagingError
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, StoredFile
from snakemake_executor_azurebatch.staging.sas import make_access
from snakemake_executor_azurebatch.staging.store import BlobStore

from .conftest import Node, files_below

WRONG_KEY = b64encode(b"not the key of this account").decode()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_blob_container_gets_one_id_and_keeps_it(container: ContainerClient) -> None:
    store = BlobStore(container)
    first = store.ensure()
    assert len(first) == 32
    assert store.ensure() == first
    store.close()


def test_runs_that_start_at_once_agree_on_the_id(container: ContainerClient) -> None:
    store = BlobStore(container)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: store.ensure(), range(8)))) == 1
    store.close()


def test_somebody_elses_blob_container_is_marked_and_keeps_its_metadata(container: ContainerClient) -> None:
    container.create_container(metadata={"theirs": "1"})
    store = BlobStore(container)
    store_id = store.ensure()
    assert container.get_container_properties().metadata == {"theirs": "1", "store_id": store_id}
    store.close()


def test_a_wrong_key_is_told(azurite: Azurite) -> None:
    with ContainerClient(azurite.blob_url, "smk-x", credential=WRONG_KEY) as client:
        store = BlobStore(client)
        with pytest.raises(AccessRefused, match="opening the blob container smk-x at http:") as caught:
            store.ensure()
        store.close()
    assert WRONG_KEY not in str(caught.value)


def test_an_unreachable_account_is_told_soon_and_without_its_sas(azurite: Azurite) -> None:
    url = f"http://127.0.0.1:{closed_port()}/devstoreaccount1"
    with ContainerClient(url, "smk-x", credential=azurite.key) as signing:
        access = make_access(signing, 60, account_key=azurite.key)
    with ContainerClient.from_container_url(access.read_url) as client:
        store = BlobStore(client)
        began_s = time.monotonic()
        with pytest.raises(ServiceUnreachable, match="no answer") as caught:
            store.ensure()
        store.close()
    assert time.monotonic() - began_s < 60  # the SDK's own retries would take minutes
    assert "sig=" not in str(caught.value)


def test_bytes_are_kept_or_overwritten_as_told(store: BlobStore) -> None:
    assert store.upload_bytes("a/b", b"1")
    assert not store.upload_bytes("a/b", b"2")
    assert store.read_bytes("a/b", 10) == b"1"
    assert store.upload_bytes("a/b", b"33", overwrite=True)
    assert store.read_bytes("a/b", 2) == b"33"
    with pytest.raises(StagingError, match=r"has 2 bytes, more than 1$"):
        store.read_bytes("a/b", 1)
    assert store.upload_bytes("empty", b"")
    assert store.read_bytes("empty", 10) == b""


def test_a_blob_that_is_not_there(store: BlobStore, tmp_path: Path) -> None:
    assert store.describe("nothing") is None
    with pytest.raises(NotFound, match="reading the blob nothing"):
        store.read_bytes("nothing", 10)
    with pytest.raises(NotFound, match=r"downloading x\.txt"):
        store.download(StoredFile("x.txt", "nothing", 1, "0" * 32), tmp_path / "x.txt")
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    "wrong", [lambda f: {**vars(f), "size_bytes": 99}, lambda f: {**vars(f), "md5": "0" * 32}], ids=["size", "md5"]
)
def test_a_corrupt_download_leaves_what_was_there(
    store: BlobStore, node: Node, tmp_path: Path, wrong: Callable[[StoredFile], dict[str, object]]
) -> None:
    (tmp_path / "x").write_bytes(b"old")
    file = StoredFile(**wrong(node.leaves("x", b"new")))  # type: ignore[arg-type]  # values of the right types
    with pytest.raises(StagingError, match="x was not what the node stored"):
        store.download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert files_below(tmp_path) == {"x"}


def test_a_large_file_comes_down_in_parts(store: BlobStore, node: Node, tmp_path: Path) -> None:
    content = os.urandom((32 << 20) + 5)  # the SDK asks for 32 MiB first
    store.download(node.leaves("big", content), tmp_path / "deep" / "er" / "big")
    assert (tmp_path / "deep" / "er" / "big").read_bytes() == content


def test_a_name_as_long_as_the_file_system_allows(store: BlobStore, node: Node, tmp_path: Path) -> None:
    name = "n" * 255
    store.download(node.leaves(name, b"1"), tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"1"


def test_a_place_that_cannot_be_written_is_told(store: BlobStore, node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StagingError, match="x cannot be written here: "):
        store.download(node.leaves("x", b"1"), tmp_path / "file" / "x")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def test_a_folder_replaces_the_whole_old_one(store: BlobStore, node: Node, tmp_path: Path) -> None:
    (tmp_path / "d" / "old").mkdir(parents=True)
    (tmp_path / "d" / "old" / "x").touch(mode=0o400)
    (tmp_path / "d" / "old").chmod(0o500)
    members = (
        (member("ro", tarfile.DIRTYPE, mode=0o555), b""),
        (member("ro/x", mode=0o444), b"1"),
        (member("hard", tarfile.LNKTYPE, "ro/x"), b""),
        (member("link", tarfile.SYMTYPE, "../elsewhere"), b""),
    )
    store.download(node.leaves("d", tar_of(*members), DIRECTORY, 0o750), tmp_path / "d")
    d = tmp_path / "d"
    assert files_below(tmp_path) == {"d/ro/x", "d/hard", "d/link"}
    assert (d.stat().st_mode & 0o777, (d / "ro").stat().st_mode & 0o777) == (0o750, 0o555)
    assert (str((d / "link").readlink()), (d / "hard").read_bytes()) == ("../elsewhere", b"1")
    (d / "ro").chmod(0o755)  # for those who clean up


UNSAFE = {
    "absolute": [(member("/tmp/smk-evil"), b"1")],
    "parent": [(member("a/../../evil"), b"1")],
    "through a link": [(member("l", tarfile.SYMTYPE, ".."), b""), (member("l/evil"), b"1")],
    "over a link": [(member("l", tarfile.SYMTYPE, "../evil"), b""), (member("l"), b"1")],
    "folder over a link": [(member("l", tarfile.SYMTYPE, ".."), b""), (member("l", tarfile.DIRTYPE), b"")],
    "hard link outside": [(member("l", tarfile.LNKTYPE, "../kept"), b"")],
    "hard link through a link": [
        (member("l", tarfile.SYMTYPE, ".."), b""),
        (member("h", tarfile.LNKTYPE, "l/kept"), b""),
    ],
    "hard link to a link": [
        (member("l", tarfile.SYMTYPE, "../kept"), b""),
        (member("h", tarfile.LNKTYPE, "l"), b""),
    ],
    "device": [(member("dev", tarfile.CHRTYPE), b"")],
    "pipe": [(member("pipe", tarfile.FIFOTYPE), b"")],
    "twice": [(member("x"), b"1"), (member("x"), b"2")],
}


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_archive_is_refused_and_leaves_nothing(
    store: BlobStore, node: Node, tmp_path: Path, case: str
) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    with pytest.raises(StagingError, match="cannot be unpacked"):
        store.download(node.leaves("d", tar_of(*UNSAFE[case]), DIRECTORY, 0o755), tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"kept"
    assert (tmp_path / "kept").stat().st_nlink == 1


def test_what_is_no_archive_is_refused(store: BlobStore, node: Node, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="cannot be unpacked"):
        store.download(node.leaves("d", uuid.uuid4().bytes * 100, DIRECTORY), tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
