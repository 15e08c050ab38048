"""Large inputs: read once, named by their stamps, and never believed too soon. LARGE is brought down for the tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, InputFile
from snakemake_executor_azurebatch.staging import digests, transfer
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.needed import Seen
from snakemake_executor_azurebatch.staging.stamps import TICK_NS, Stamp
from snakemake_executor_azurebatch.staging.store import ONE_REQUEST_BYTES, BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers

from .conftest import blob_names, wanted

SIZE_BYTES = ONE_REQUEST_BYTES + 100_000


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "LARGE_BYTES", 1 << 20)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves this machine's clock by so many nanoseconds."""
    real = time.time_ns

    def move(by_ns: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: real() + by_ns)

    return move


@pytest.fixture
def old(clock: Callable[[int], None]) -> None:
    """All files are settled."""
    clock(2 * TICK_NS)


@pytest.fixture
def file(workdir: Path) -> Path:
    path = workdir / "large"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that were opened to read them."""
    opened: list[str] = []
    real = Path.open

    def noting(self: Path, mode: str = "r", *others: object) -> BinaryIO:
        if mode == "rb":
            opened.append(self.name)
        return real(self, mode, *others)  # type: ignore[call-overload, no-any-return]  # as given

    monkeypatch.setattr(Path, "open", noting)
    yield opened
    monkeypatch.undo()


def up(transfers: Transfers, file: Path) -> InputFile:
    return transfers.upload_missing([wanted(file.parent, file.name)])[file.name]


@pytest.mark.usefixtures("old")
def test_it_is_read_once_and_known_afterwards(
    transfers: Transfers, store: BlobStore, file: Path, reads: list[str]
) -> None:
    sent = up(transfers, file)

    assert reads == ["large"]
    data = store.container.download_blob(sent.blob).readall()
    assert data == file.read_bytes()
    assert (sent.size_bytes, sent.md5) == (SIZE_BYTES, digests.md5_of(data))
    described = store.describe(sent.blob)
    assert described is not None
    assert described.md5 == sent.md5
    known = transfers.known(wanted(file.parent, "large"))
    assert known is not None
    assert known.blob == sent.blob


@pytest.mark.usefixtures("old")
def test_an_upload_that_the_index_never_heard_of_is_found_again(
    transfers: Transfers, store: BlobStore, file: Path, reads: list[str], tmp_path: Path
) -> None:
    """The controller was killed between the two."""
    sent = up(transfers, file)
    index = Index(tmp_path / "new" / "index.sqlite", "the same")
    again = Transfers(store, index)
    (file.parent / "link").symlink_to("large")

    assert up(again, file) == sent
    assert up(again, file.parent / "link").blob == sent.blob

    assert reads == ["large"]
    again.close()
    index.close()


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("has_changed", [False, True])
def test_a_touched_one_is_read_before_it_is_sent(
    transfers: Transfers, store: BlobStore, file: Path, has_changed: bool
) -> None:
    before = up(transfers, file)
    sent_bytes = store.uploaded_bytes
    if has_changed:
        file.write_bytes(os.urandom(SIZE_BYTES))
    os.utime(file)
    file.chmod(0o600)

    after = up(transfers, file)

    assert (after.blob != before.blob) == has_changed
    assert after.mode == 0o600
    assert store.uploaded_bytes == sent_bytes + (SIZE_BYTES if has_changed else 0)
    assert store.container.download_blob(after.blob).readall() == file.read_bytes()


def test_a_young_one_has_a_name_that_promises_nothing(
    transfers: Transfers, store: BlobStore, file: Path, clock: Callable[[int], None]
) -> None:
    clock(-TICK_NS)
    first = up(transfers, file)
    sent_bytes = store.uploaded_bytes
    assert transfers.known(wanted(file.parent, "large")) is None
    assert up(transfers, file) == first  # compared, not sent
    assert store.uploaded_bytes == sent_bytes
    stamp = Stamp.of(file)
    with file.open("r+b") as stream:
        stream.write(b"changed within the tick")
    os.utime(file, ns=(stamp.mtime_ns, stamp.mtime_ns))
    second = up(transfers, file)
    assert second.blob != first.blob
    clock(2 * TICK_NS)

    transfers.settle()

    known = transfers.known(wanted(file.parent, "large"))
    assert known is not None
    assert known.blob == second.blob
    assert store.container.download_blob(second.blob).readall() == file.read_bytes()


@pytest.mark.usefixtures("old")
def test_one_that_changes_while_it_is_read_leaves_no_blob(
    transfers: Transfers, store: BlobStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = transfer.Seen.stays

    def changes(seen: Seen) -> bool:
        with file.open("r+b") as stream:
            stream.write(b"changed")
        return real(seen)

    monkeypatch.setattr(transfer.Seen, "stays", changes)
    with pytest.raises(StagingError, match=r"^input file large changed while it was being uploaded"):
        up(transfers, file)
    assert blob_names(store) == []
    monkeypatch.undo()
    assert store.container.download_blob(up(transfers, file).blob).readall() == file.read_bytes()


@pytest.mark.usefixtures("old")
def test_two_names_of_one_content_are_two_blobs_and_two_jobs_one(
    transfers: Transfers, store: BlobStore, file: Path
) -> None:
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    assert len({up(transfers, file).blob, up(transfers, other).blob}) == 2
    assert up(transfers, file) == up(transfers, file)
    assert len(blob_names(store, "large/")) == 2


@pytest.mark.usefixtures("old")
def test_a_large_folder_is_one_too(transfers: Transfers, store: BlobStore, workdir: Path, tmp_path: Path) -> None:
    (workdir / "folder").mkdir()
    (workdir / "folder" / "x").write_bytes(os.urandom(SIZE_BYTES))
    sent = up(transfers, workdir / "folder")
    assert (sent.kind, sent.blob.partition("/")[0]) == (DIRECTORY, "large")
    index = Index(tmp_path / "new" / "index.sqlite", "the same")
    again = Transfers(store, index)
    assert up(again, workdir / "folder") == sent
    again.close()
    index.close()


def test_a_young_folder_is_compared_and_not_sent_again(
    transfers: Transfers, store: BlobStore, workdir: Path, clock: Callable[[int], None]
) -> None:
    folder = workdir / "folder"
    folder.mkdir()
    (folder / "x").write_bytes(os.urandom(SIZE_BYTES))
    clock(-TICK_NS)
    first = up(transfers, folder)
    sent_bytes = store.uploaded_bytes

    assert up(transfers, folder) == first
    assert store.uploaded_bytes == sent_bytes
    (folder / "x").write_bytes(os.urandom(SIZE_BYTES))
    assert up(transfers, folder).blob != first.blob


def test_a_folder_with_a_file_from_the_future_is_known(
    transfers: Transfers, workdir: Path, clock: Callable[[int], None]
) -> None:
    folder = workdir / "folder"
    folder.mkdir()
    (folder / "x").write_bytes(os.urandom(SIZE_BYTES))
    os.utime(folder / "x", (1 << 32, 1 << 32))
    clock(2 * TICK_NS)
    sent = up(transfers, folder)

    known = transfers.known(wanted(workdir, "folder"))
    assert known is not None
    assert known.blob == sent.blob
