"""Files that are not what one expects, and disks that are full."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, CommitRecord, InputFile, Product, StoredFile
from snakemake_executor_azurebatch.staging import blocks, place, transfer
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.outputs import bring_back
from snakemake_executor_azurebatch.staging.stamps import Stamp
from snakemake_executor_azurebatch.staging.store import ONE_REQUEST_BYTES, BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers, forget_lost

from .conftest import Node, blob_names, files_below, wanted

MIB = 1 << 20


def as_stored(file: InputFile) -> StoredFile:
    return StoredFile(file.path, file.blob, file.size_bytes, file.md5, file.mode, file.kind)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # a socket's path may have 107 bytes only


@pytest.mark.parametrize(
    ("make", "what"),
    [(_pipe, "a named pipe"), (_socket, "a socket"), (lambda path: path.symlink_to("/dev/null"), "a device")],
)
def test_what_cannot_be_read_to_an_end_is_refused(
    transfers: Transfers, workdir: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], what: str
) -> None:
    monkeypatch.chdir(workdir)
    make(workdir / "x")
    with pytest.raises(StagingError, match=f"^input file x is {what}, which cannot be uploaded$"):
        transfers.upload_missing([wanted(workdir, "x")])


def test_links_to_files_are_followed_and_dangling_ones_told(
    transfers: Transfers, store: BlobStore, workdir: Path, tmp_path: Path
) -> None:
    (workdir / "data").write_bytes(b"inside")
    (tmp_path / "elsewhere").write_bytes(b"outside")
    (workdir / "inside").symlink_to("data")
    (workdir / "outside").symlink_to(tmp_path / "elsewhere")
    (workdir / "dangling").symlink_to("nowhere")
    up = transfers.upload_missing([wanted(workdir, "inside"), wanted(workdir, "outside")])
    assert {path: store.read_bytes(file.blob, 10) for path, file in up.items()} == {
        "inside": b"inside",
        "outside": b"outside",
    }
    with pytest.raises(StagingError, match=r"^input file dangling is missing$"):
        transfers.upload_missing([wanted(workdir, "dangling")])


NAMES = ["e\u0301.txt", "\u00e9.txt", "trailing.", "dots...", ".hidden", "-rf", "x" * 255, "new\nline", "\x7f\x01"]


def test_names_come_back_byte_for_byte(transfers: Transfers, store: BlobStore, workdir: Path, tmp_path: Path) -> None:
    """Composed and decomposed letters are two files."""
    for name in NAMES:
        (workdir / name).write_bytes(name.encode())
    up = transfers.upload_missing([wanted(workdir, name) for name in NAMES])
    for name in NAMES:
        store.download(as_stored(up[name]), tmp_path / "back" / name)
    assert files_below(tmp_path / "back") == set(NAMES)
    assert {path.read_bytes().decode() for path in (tmp_path / "back").iterdir()} == set(NAMES)


def test_sparse_and_read_only_files(transfers: Transfers, store: BlobStore, workdir: Path) -> None:
    with (workdir / "sparse").open("wb") as stream:
        stream.truncate(20 * MIB)
        stream.seek(10 * MIB)
        stream.write(b"here")
    (workdir / "sparse").chmod(0o444)
    up = transfers.upload_missing([wanted(workdir, "sparse")])["sparse"]
    store.download(as_stored(up), workdir / "back")
    assert (workdir / "back").read_bytes() == (workdir / "sparse").read_bytes()
    assert (workdir / "back").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, ONE_REQUEST_BYTES + MIB),
        lambda path: os.truncate(path, 0),
        lambda path: path.unlink(),
        lambda path: path.replace(path.with_name("moved")),
    ],
    ids=["shorter", "empty", "removed", "moved"],
)
def test_a_large_file_that_goes_while_its_blocks_are_sent(
    transfers: Transfers,
    store: BlobStore,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    path = workdir / "large"
    path.write_bytes(os.urandom(ONE_REQUEST_BYTES + 4 * MIB))
    real = blocks.send_blocks

    def then_it_goes(*arguments: object) -> list[str]:
        change(path)
        return real(*arguments)  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(blocks, "send_blocks", then_it_goes)
    with pytest.raises(StagingError, match=r"^input file large (changed while it was being uploaded|is missing)"):
        transfers.upload_missing([wanted(workdir, "large")])
    assert blob_names(store) == []


def test_an_input_whose_blob_somebody_deleted_goes_up_again(
    transfers: Transfers, store: BlobStore, index: Index, workdir: Path
) -> None:
    names = ("kept", "lost")
    for name in names:
        (workdir / name).write_bytes(name.encode())
        os.utime(workdir / name, (1, 1))
    wants = [wanted(workdir, name) for name in names]
    up = transfers.upload_missing(wants)
    for want in wants:
        index.learn(str(want.local), Stamp.of(want.local), transfer.BlobRef(up[want.path].blob, 4, "", 0o644, "file"))
    store.container.delete_blob(up["lost"].blob)
    assert transfers.known(wants[1]) is not None
    assert forget_lost(store, index, wants) == ["lost"]
    assert [transfers.known(want) is not None for want in wants] == [True, False]
    assert transfers.upload_missing(wants[1:])["lost"].blob == up["lost"].blob
    assert store.read_bytes(up["lost"].blob, 10) == b"lost"


LEAVE = """
import os, signal, sys
from pathlib import Path
from snakemake_executor_azurebatch.staging import place
folder = Path(sys.argv[1])
place.beside(folder / "x").write_bytes(b"half")
inner = place.beside(folder / "d")
inner.mkdir()
(inner / "f").write_bytes(b"half")
inner.chmod(0o500)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(workdir: Path) -> None:
    (workdir / ".smk-mine.part").touch()
    subprocess.run([sys.executable, "-c", LEAVE, str(workdir)], check=False)
    assert len(list(workdir.iterdir())) == 3
    own = place.beside(workdir / "y")
    own.touch()
    place.beside(workdir / "z")
    assert set(workdir.iterdir()) == {workdir / ".smk-mine.part", own}


def test_a_living_process_keeps_what_it_is_fetching(workdir: Path, tmp_path: Path) -> None:
    own = place.beside(workdir / "x")
    own.touch()
    code = "import sys; from pathlib import Path; from snakemake_executor_azurebatch.staging import place\n"
    subprocess.run([sys.executable, "-c", code + "place.beside(Path(sys.argv[1], 'y'))", str(workdir)], check=True)
    assert own.exists()


@pytest.fixture
def small_disk(workdir: Path) -> Iterator[Path]:
    folder = workdir / "out"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_stays(
    store: BlobStore, node: Node, workdir: Path, small_disk: Path
) -> None:
    (small_disk / "large").write_bytes(b"old")
    stored = [node.leaves("out/large", bytes(6 * MIB)), node.leaves("out/small", b"1"), node.leaves("other", b"2")]
    products = [Product(file.path) for file in stored]
    record = CommitRecord("t1", "done", 0, outputs=stored)
    why = rf"out/large cannot be written here: No space left on device \(the disk at {small_disk} has .* of 4\.0 MiB\)"
    with pytest.raises(StagingError, match=why):
        bring_back(store, record, workdir, wanted=products)
    assert {name: (workdir / name).read_bytes() for name in files_below(workdir)} == {"out/large": b"old"}
    bring_back(store, record, workdir, wanted=products[1:])
    assert files_below(workdir) == {"out/large", "out/small", "other"}


def test_a_full_temporary_folder_is_named(
    transfers: Transfers, workdir: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "folder").mkdir()
    (workdir / "folder" / "large").write_bytes(bytes(6 * MIB))
    monkeypatch.setattr(transfer.tempfile, "tempdir", str(small_disk))
    want = NeededFile("folder", workdir / "folder", DIRECTORY)
    with pytest.raises(StagingError, match=rf"^input folder folder cannot be packed: No space .* at {small_disk} "):
        transfers.upload_missing([want])
    assert list(small_disk.iterdir()) == []


def test_block_sizes_at_the_limits_of_the_service() -> None:
    """50,000 blocks of at most 4,000 MiB; memory for blocks on their way stays near one block or 64 MiB."""
    at_least = blocks.BLOCK_BYTES * blocks.MAX_BLOCKS
    assert blocks.block_size_bytes(at_least) == blocks.BLOCK_BYTES
    assert blocks.block_size_bytes(at_least + 1) == blocks.BLOCK_BYTES + MIB
    most = 50_000 * 4_000 * MIB
    assert blocks.block_size_bytes(most) == 4_000 * MIB
    with pytest.raises(StagingError, match="more than one blob can hold"):
        blocks.block_size_bytes(most + 1)
    assert [blocks.blocks_in_flight(size * MIB) for size in (4, 16, 17, 33, 64, 65, 4_000)] == [4, 4, 3, 1, 1, 1, 1]
