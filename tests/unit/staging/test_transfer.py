from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, FILE, InputFile
from snakemake_executor_azurebatch.staging import blocks, transfer
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.stamps import TICK_NS, Stamp
from snakemake_executor_azurebatch.staging.store import ONE_REQUEST_BYTES, BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers

from .conftest import blob_names, wanted

ODD_NAMES = [
    "with space.txt",
    "quo'te\".txt",
    "ünï-文.txt",
    "-dash",
    "#1",
    "100%25.txt",
    "what?.txt",
    "a+b=c&d;e",
    "back\\slash",
    "new\nline",
]


def back_again(store: BlobStore, file: InputFile, target: Path) -> Path:
    from snakemake_executor_azurebatch.node.protocol import StoredFile

    store.download(StoredFile(file.path, file.blob, file.size_bytes, file.md5, file.mode, file.kind), target)
    return target


@pytest.mark.parametrize("name", ODD_NAMES)
def test_round_trip_of_odd_names(transfers: Transfers, store: BlobStore, workdir: Path, name: str) -> None:
    (workdir / name).write_bytes(name.encode())
    up = transfers.upload_missing([wanted(workdir, name)])
    assert set(up) == {name}
    assert back_again(store, up[name], workdir / "back" / name).read_bytes() == name.encode()


@pytest.mark.parametrize("size_bytes", [0, 1, ONE_REQUEST_BYTES, ONE_REQUEST_BYTES + 1, 5 * blocks.BLOCK_BYTES + 7])
def test_round_trip_of_sizes_and_modes(transfers: Transfers, store: BlobStore, workdir: Path, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    (workdir / "x").write_bytes(content)
    (workdir / "x").chmod(0o750)
    up = transfers.upload_missing([wanted(workdir, "x")])["x"]
    assert (up.size_bytes, up.mode, up.kind) == (size_bytes, 0o750, FILE)
    described = store.describe(up.blob)
    assert described is not None
    assert described.md5 == up.md5
    back = back_again(store, up, workdir / "back")
    assert back.read_bytes() == content
    assert back.stat().st_mode & 0o777 == 0o750


def test_a_folder_keeps_modes_links_and_empty_folders(transfers: Transfers, store: BlobStore, workdir: Path) -> None:
    folder = workdir / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / "sub" / "tool").write_bytes(b"#!")
    (folder / "sub" / "tool").chmod(0o755)
    (folder / "inner").symlink_to("sub/tool")
    (folder / "absolute").symlink_to(folder / "sub")
    (folder / "dangling").symlink_to("nowhere")
    (workdir / "outside").write_bytes(b"out")
    (folder / "outer").symlink_to("../outside")
    up = transfers.upload_missing([wanted(workdir, "d")])["d"]
    assert up.kind == DIRECTORY
    back = back_again(store, up, workdir / "back")
    assert (back / "sub" / "tool").stat().st_mode & 0o777 == 0o755
    assert (back / "empty").stat().st_mode & 0o777 == 0o700
    links = {path.name: str(path.readlink()) for path in back.iterdir() if path.is_symlink()}
    assert links == {"inner": "sub/tool", "absolute": "sub", "dangling": "nowhere"}
    assert (back / "outer").read_bytes() == b"out"


def test_equal_folders_are_one_blob(transfers: Transfers, store: BlobStore, workdir: Path) -> None:
    for name in ("a", "b"):
        (workdir / name).mkdir()
        for file in ("2", "1") if name == "a" else ("1", "2"):
            (workdir / name / file).write_bytes(b"same")
    up = transfers.upload_missing([wanted(workdir, "a"), wanted(workdir, "b")])
    assert blob_names(store) == [up["a"].blob]
    assert up["a"].blob == up["b"].blob


def test_fifty_jobs_that_want_one_file_upload_it_once(transfers: Transfers, store: BlobStore, workdir: Path) -> None:
    (workdir / "x").write_bytes(os.urandom(1 << 20))
    puts: list[str] = []
    real, all_ask = store.upload_file, threading.Barrier(50)

    def counting(local: Path, blob: str, *others: object) -> object:
        puts.append(blob)
        return real(local, blob, *others)

    store.upload_file = counting  # type: ignore[method-assign, assignment]  # counts, and does the real thing

    def ask(_: int) -> InputFile:
        all_ask.wait()
        return transfers.upload_missing([wanted(workdir, "x")])["x"]

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(ask, range(50)))
    assert len(answers) == 1
    assert puts == [next(iter(answers)).blob]


def test_a_settled_file_is_learned_and_a_fresh_one_is_not(
    transfers: Transfers, index: Index, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "x").write_bytes(b"1")
    want = wanted(workdir, "x")
    now_ns = Stamp.of(want.local).ctime_ns
    monkeypatch.setattr(transfer.time, "time_ns", lambda: now_ns)
    transfers.upload_missing([want])
    assert transfers.known(want) is None
    monkeypatch.setattr(transfer.time, "time_ns", lambda: now_ns + TICK_NS)
    up = transfers.upload_missing([want])["x"]
    known = transfers.known(want)
    assert known is not None
    assert known.blob == up.blob
    (workdir / "x").write_bytes(b"22")
    assert transfers.known(want) is None
    assert transfers.upload_missing([want])["x"].blob != up.blob


def test_what_is_there_from_an_earlier_run_is_fine(store: BlobStore, workdir: Path, tmp_path: Path) -> None:
    (workdir / "small").write_bytes(b"1")
    (workdir / "large").write_bytes(bytes(ONE_REQUEST_BYTES + 1))
    wants = [wanted(workdir, "small"), wanted(workdir, "large")]
    answers = []
    for run in ("1", "2"):
        index = Index(tmp_path / run, "store")
        transfers = Transfers(store, index)
        answers.append(transfers.upload_missing(wants))
        transfers.close()
        index.close()
    assert answers[0] == answers[1]


def test_every_problem_is_named_in_words(transfers: Transfers, workdir: Path) -> None:
    (workdir / "fine").touch()
    (workdir / "folder").mkdir()
    wants = [wanted(workdir, name) for name in ("data/x.txt", "fine", "gone")]
    wants.append(NeededFile("folder", workdir / "folder", FILE))
    wants.append(NeededFile("fine/deeper", workdir / "fine/deeper", FILE))
    with pytest.raises(StagingError) as caught:
        transfers.upload_missing(wants)
    assert str(caught.value).splitlines() == [
        "input file data/x.txt is missing",
        "input file gone is missing",
        "input file folder is a folder",
        "input file fine/deeper cannot be read: Not a directory",
    ]


def test_a_file_without_permission_is_named(transfers: Transfers, workdir: Path) -> None:
    secret = workdir / "secret"
    secret.touch(mode=0o000)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(StagingError, match=r"^input file secret cannot be read: Permission denied$"):
        transfers.upload_missing([wanted(workdir, "secret")])


@pytest.mark.parametrize("size_bytes", [10, ONE_REQUEST_BYTES + 10])
def test_a_file_that_changes_while_it_is_read_is_refused(
    transfers: Transfers,
    store: BlobStore,
    index: Index,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    size_bytes: int,
) -> None:
    path = workdir / "log.txt"
    path.write_bytes(bytes(size_bytes))
    real = transfer.digests.of_file

    def then_somebody_writes(local: Path) -> object:
        found = real(local)
        with local.open("r+b") as stream:
            stream.write(os.urandom(7))
        return found

    monkeypatch.setattr(transfer.digests, "of_file", then_somebody_writes)
    with pytest.raises(StagingError, match=r"^input file log\.txt changed while it was being uploaded"):
        transfers.upload_missing([wanted(workdir, "log.txt")])
    # Nothing may stand under a name that promises another content.
    assert blob_names(store) == []
    monkeypatch.undo()
    assert set(transfers.upload_missing([wanted(workdir, "log.txt")])) == {"log.txt"}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.with_name("link").hardlink_to(path),
        lambda path: path.chmod(0o400),
        lambda path: os.utime(path, (1, 1)),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_is_linked_or_touched_while_it_is_read_is_looked_at_again(
    transfers: Transfers,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    whole: bool,
) -> None:
    path = workdir / "reads.fq"
    path.write_bytes(b"reads")
    os.utime(path, (2, 2))
    real, looks = transfer.digests.of_file, []

    def then_somebody_changes(local: Path) -> object:
        looks.append(local)
        found = real(local)
        if len(looks) == 1:
            change(path)
        return found

    monkeypatch.setattr(transfer.digests, "of_file", then_somebody_changes)
    up = transfers.upload_missing([wanted(workdir, "reads.fq")], whole=whole)["reads.fq"]
    assert (up.size_bytes, up.mode) == (5, path.stat().st_mode & 0o777)


def test_block_sizes_have_no_ceiling_at_195_gib() -> None:
    tib = 1 << 40
    for size_bytes in (0, 1, 200 * blocks.MIB, 195 << 30, tib, 190 * tib):
        block = blocks.block_size_bytes(size_bytes)
        assert block * blocks.MAX_BLOCKS >= size_bytes
        assert block % blocks.MIB == 0
        assert blocks.BLOCK_BYTES <= block <= 4000 * blocks.MIB


def test_a_young_input_is_remembered_once_it_is_old_enough(workdir: Path, transfers: Transfers) -> None:
    for name, content in (("same.txt", b"same"), ("changed.txt", b"before")):
        (workdir / name).write_bytes(content)
        transfers.upload_missing([wanted(workdir, name)])
    assert transfers.known(wanted(workdir, "same.txt")) is None
    (workdir / "changed.txt").write_bytes(b"after!")
    while not all(Stamp.of(file).settled(time.time_ns()) for file in workdir.iterdir()):
        time.sleep(0.05)

    transfers.settle()

    known = transfers.known(wanted(workdir, "same.txt"))
    assert known is not None
    assert known.blob.endswith(hashlib.sha256(b"same").hexdigest())
    assert transfers.known(wanted(workdir, "changed.txt")) is None
