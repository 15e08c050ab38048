"""Many small inputs go up in packs, and members of packs come down, against a real blob container."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.limits import MANY, SMALL_BYTES
from snakemake_executor_azurebatch.node.packing import PACK_BYTES
from snakemake_executor_azurebatch.node.protocol import CommitRecord, InputFile, Product, StoredFile
from snakemake_executor_azurebatch.staging import digests, packer
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.outputs import bring_back, learn_outputs
from snakemake_executor_azurebatch.staging.stamps import Stamp
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers, forget_lost

from .conftest import blob_names, files_below, wanted

Fill = Callable[..., list[NeededFile]]


@pytest.fixture
def fill(workdir: Path) -> Fill:
    """Makes settled files, named f0, f1 and so on."""

    def make(*contents: bytes, prefix: str = "f") -> list[NeededFile]:
        for number, content in enumerate(contents):
            (workdir / f"{prefix}{number}").write_bytes(content)
        last = workdir / f"{prefix}{len(contents) - 1}"
        while not Stamp.of(last).settled(time.time_ns()):
            time.sleep(0.05)
        return [wanted(workdir, f"{prefix}{number}") for number in range(len(contents))]

    return make


def different(count: int = MANY) -> list[bytes]:
    return [b"content %d\n" % number for number in range(count)]


def as_stored(item: InputFile, path: str = "") -> StoredFile:
    place = (item.offset, item.pack_bytes)
    return StoredFile(path or item.path, item.blob, item.size_bytes, item.md5, item.mode, item.kind, "", *place)


def content_of(store: BlobStore, item: InputFile, tmp_path: Path) -> bytes:
    target = tmp_path / "back" / item.path
    store.download(as_stored(item), target)
    assert target.stat().st_mode & 0o777 == item.mode
    return target.read_bytes()


def test_many_small_inputs_are_one_blob(
    transfers: Transfers, store: BlobStore, fill: Fill, workdir: Path, tmp_path: Path
) -> None:
    contents = [*different(), b"", b"same", b"same", os.urandom(SMALL_BYTES), os.urandom(SMALL_BYTES + 1)]
    wants = fill(*contents)
    (workdir / "f3").chmod(0o750)
    (workdir / "folder").mkdir()

    up = transfers.upload_missing([*wants, wanted(workdir, "folder")])

    assert list(up) == [*(want.path for want in wants[:-1]), wants[-1].path, "folder"]
    [pack] = blob_names(store, "packs/")
    assert [item.blob for item in up.values() if item.offset is None] == [up[wants[-1].path].blob, up["folder"].blob]
    assert sorted(blob_names(store)) == sorted({pack, up[wants[-1].path].blob, up["folder"].blob})
    assert [content_of(store, up[want.path], tmp_path) for want in wants] == contents
    pack_bytes = sum(map(len, contents)) - len(b"same") - len(contents[-1])
    described = store.describe(pack)
    assert described is not None
    assert described.size_bytes == pack_bytes
    assert {item.pack_bytes for item in up.values() if item.offset is not None} == {pack_bytes}
    assert described.md5 == digests.md5_of(b"".join(dict.fromkeys(contents[:-1])))


def test_few_are_blobs_of_their_own(transfers: Transfers, store: BlobStore, fill: Fill) -> None:
    up = transfers.upload_missing(fill(*different(MANY - 1)))
    assert {item.offset for item in up.values()} == {None}
    assert len(blob_names(store, "inputs/")) == MANY - 1


def test_packs_are_bounded(transfers: Transfers, store: BlobStore, fill: Fill, tmp_path: Path) -> None:
    count = PACK_BYTES // SMALL_BYTES + 1
    contents = [os.urandom(SMALL_BYTES) for _ in range(count)]
    up = transfers.upload_missing(fill(*contents, contents[0]))
    assert sorted(item.pack_bytes for item in up.values()) == [SMALL_BYTES, *[PACK_BYTES] * count]
    assert [content_of(store, item, tmp_path) for item in up.values()] == [*contents, contents[0]]


def test_what_was_packed_is_known_and_not_sent_again(
    transfers: Transfers, store: BlobStore, fill: Fill, workdir: Path
) -> None:
    wants = fill(*different())
    up = transfers.upload_missing(wants)
    sent_bytes = store.uploaded_bytes

    known = [transfers.known(want) for want in wants]
    assert [(ref.blob, ref.offset, ref.pack_bytes) for ref in known if ref is not None] == [
        (item.blob, item.offset, item.pack_bytes) for item in up.values()
    ]
    for want in wants:
        os.utime(want.local)
    assert transfers.upload_missing(wants) == up
    assert transfers.upload_missing(wants[:1])["f0"] == up["f0"]
    others = fill(*different(MANY), prefix="other")
    assert [item.offset for item in transfers.upload_missing(others).values()] == [item.offset for item in up.values()]
    assert store.uploaded_bytes == sent_bytes
    (workdir / "f0").write_bytes(b"CONTENT 0\n")  # of the same size
    assert transfers.upload_missing(wants[:1])["f0"].blob != up["f0"].blob


def test_another_run_that_has_forgotten_packs_the_same(
    transfers: Transfers, store: BlobStore, fill: Fill, tmp_path: Path
) -> None:
    wants = fill(*different())
    up = transfers.upload_missing(wants)
    index = Index(tmp_path / "new" / "index.sqlite", store.ensure())
    again = Transfers(store, index)
    assert again.upload_missing(wants) == up
    assert len(blob_names(store)) == 1
    again.close()
    index.close()


def test_small_files_of_many_jobs_are_sent_ahead(transfers: Transfers, store: BlobStore, workdir: Path) -> None:
    """Also young ones, which the index is not told of."""
    wants = []
    for number, content in enumerate(different()):
        (workdir / f"f{number}").write_bytes(content)
        wants.append(wanted(workdir, f"f{number}"))

    transfers.send_small(wants)
    sent_bytes = store.uploaded_bytes
    jobs = [transfers.upload_missing([want])[want.path] for want in wants]

    assert blob_names(store) == [jobs[0].blob]
    assert {job.blob for job in jobs} == {jobs[0].blob}
    assert store.uploaded_bytes == sent_bytes


def test_rounds_at_the_same_time_send_nothing_twice(transfers: Transfers, store: BlobStore, fill: Fill) -> None:
    wants = fill(*different(200))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda start: transfers.upload_missing(wants[start : start + 100]), range(0, 101, 20)))
    assert store.uploaded_bytes == sum(want.local.stat().st_size for want in wants)
    assert len({(item.path, item.blob, item.offset) for answer in answers for item in answer.values()}) == len(wants)


def test_who_needs_whole_blobs_gets_them(transfers: Transfers, store: BlobStore, fill: Fill) -> None:
    wants = fill(*different())
    packed = transfers.upload_missing(wants)
    assert [transfers.known_whole(want) for want in wants] == [None] * MANY

    whole = transfers.upload_missing(wants[:2], whole=True)

    assert {item.offset for item in whole.values()} == {None}
    assert [store.read_bytes(item.blob, 100) for item in whole.values()] == different()[:2]
    assert transfers.known_whole(wants[0]) == transfers.known(wants[0])
    assert transfers.upload_missing(wants[2:4]) == {path: packed[path] for path in ("f2", "f3")}


def test_what_is_wrong_with_one_is_said_as_always(transfers: Transfers, fill: Fill, workdir: Path) -> None:
    wants = fill(*different())
    (workdir / "f3").unlink()
    os.mkfifo(workdir / "pipe")
    with pytest.raises(StagingError) as caught:
        transfers.upload_missing([*wants, NeededFile("pipe", workdir / "pipe")])
    assert str(caught.value).splitlines() == [
        "input file f3 is missing",
        "input file pipe is a named pipe, which cannot be uploaded",
    ]


def test_a_file_that_changes_while_it_is_read_is_in_no_pack(
    transfers: Transfers, store: BlobStore, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants, real = fill(*different()), packer.Seen.stays

    def changes(seen: packer.Seen) -> bool:
        if seen.want.path == "f3":
            seen.want.local.write_bytes(b"CONTENT 3\n")
        return real(seen)

    monkeypatch.setattr(packer.Seen, "stays", changes)
    with pytest.raises(StagingError, match=r"^input file f3 changed while it was being uploaded"):
        transfers.upload_missing(wants)
    monkeypatch.undo()
    up = transfers.upload_missing(wants)
    assert content_of(store, up["f3"], tmp_path) == b"CONTENT 3\n"
    assert [content_of(store, up[f"f{number}"], tmp_path) for number in (2, 4)] == [b"content 2\n", b"content 4\n"]


def test_inputs_whose_pack_somebody_deleted_go_up_again(
    transfers: Transfers, store: BlobStore, index: Index, fill: Fill, tmp_path: Path
) -> None:
    wants = fill(*different())
    up = transfers.upload_missing(wants)
    os.utime(wants[0].local)  # touched, and not looked at since
    store.container.delete_blob(up["f0"].blob)

    assert forget_lost(store, index, wants) == [want.path for want in wants]
    again = transfers.upload_missing(wants)
    assert [content_of(store, item, tmp_path) for item in again.values()] == different()


def test_a_cancelled_run_sends_no_pack(transfers: Transfers, store: BlobStore, fill: Fill) -> None:
    wants = fill(*different())
    store.abort()
    with pytest.raises(StagingError, match="the run was cancelled"):
        transfers.upload_missing(wants)
    assert blob_names(store) == []


@pytest.fixture
def left(store: BlobStore) -> CommitRecord:
    """A task that has left a pack and a blob, and in the pack a file of another time between."""
    contents = [*different(), os.urandom(100_000), b"", b"last"]
    store.upload_bytes("tasks/t1/packs/outputs.1", b"".join(contents))
    store.upload_bytes("tasks/t1/outputs/alone", b"alone")
    outputs, offset = [StoredFile("out/alone", "tasks/t1/outputs/alone", 5, digests.md5_of(b"alone"))], 0
    for number, content in enumerate(contents):
        outputs.append(
            StoredFile(
                f"out/{number}",
                "tasks/t1/packs/outputs.1",
                len(content),
                digests.md5_of(content),
                0o640,
                offset=offset,
                pack_bytes=sum(map(len, contents)),
            )
        )
        offset += len(content)
    return CommitRecord("t1", "done", 0, outputs=outputs)


def test_members_come_back_with_few_requests(
    store: BlobStore, left: CommitRecord, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int, int]] = []
    real = store.read_span
    monkeypatch.setattr(store, "read_span", lambda *span: reads.append(span) or real(*span))
    products = [Product(one.path) for one in left.outputs if one.path != f"out/{MANY}"]

    placed = bring_back(store, left, workdir, wanted=products)

    assert [place.read_bytes() for place in placed] == [b"alone", *different(), b"", b"last"]
    assert {place.stat().st_mode & 0o777 for place in placed[1:]} == {0o640}
    assert len({place.stat().st_mtime_ns for place in placed}) == 1
    total = sum(map(len, different()))
    assert sorted(reads) == [
        ("tasks/t1/packs/outputs.1", 0, total),
        ("tasks/t1/packs/outputs.1", total + 100_000, 4),
    ]


def test_they_are_inputs_of_the_next_job_by_reference(
    store: BlobStore, index: Index, transfers: Transfers, left: CommitRecord, workdir: Path
) -> None:
    placed = bring_back(store, left, workdir, wanted=[Product(one.path) for one in left.outputs])
    learn_outputs(index, left, workdir, placed)
    before = blob_names(store)
    up = transfers.upload_missing([wanted(workdir, f"out/{number}") for number in range(MANY)])
    assert [as_stored(item) for item in up.values()] == left.outputs[1 : MANY + 1]
    assert blob_names(store) == before


@pytest.mark.parametrize("spoil", [lambda data: b"x" + data[1:], lambda data: data[:-1]], ids=["changed", "shorter"])
def test_a_pack_that_is_not_what_was_stored_brings_nothing(
    store: BlobStore, left: CommitRecord, workdir: Path, spoil: Callable[[bytes], bytes]
) -> None:
    (workdir / "out").mkdir()
    (workdir / "out" / "3").write_bytes(b"old")
    data = store.read_bytes("tasks/t1/packs/outputs.1", 1 << 20)
    store.upload_bytes("tasks/t1/packs/outputs.1", spoil(data), overwrite=True)
    with pytest.raises(StagingError, match=r"out/\d+ was not what the node stored: \d+ bytes with MD5 [0-9a-f]{32}"):
        bring_back(store, left, workdir, wanted=[Product(one.path) for one in left.outputs])
    assert files_below(workdir) == {"out/3"}
    assert (workdir / "out" / "3").read_bytes() == b"old"
