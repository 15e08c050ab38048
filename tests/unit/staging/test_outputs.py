from __future__ import annotations

import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, CommitRecord, Product, StoredFile
from snakemake_executor_azurebatch.staging import place
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.outputs import bring_back, bring_back_logs, learn_outputs
from snakemake_executor_azurebatch.staging.stamps import TIMESTAMP_FILE
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers

from .conftest import Node, blob_names, files_below, wanted
from .test_store import member, tar_of
from .test_transfer import ODD_NAMES

HOUR_NS = 3600 * 10**9


def record(*outputs: StoredFile, **others: list[StoredFile]) -> CommitRecord:
    return CommitRecord("t1", "done", 0, outputs=list(outputs), **others)


def test_outputs_come_to_their_places(store: BlobStore, node: Node, workdir: Path, tmp_path: Path) -> None:
    absolute = str(tmp_path / "elsewhere" / "abs.txt")
    paths = [*(f"out/{name}" for name in ODD_NAMES), "../beside.txt", absolute]
    made = [node.leaves(path, path.encode(), mode=0o755) for path in paths]
    unasked = node.leaves("../../unasked", b"no")
    placed = bring_back(store, record(*made, unasked), workdir, wanted=[Product(path) for path in paths])
    assert placed == [workdir / path for path in paths]
    assert [path.read_bytes() for path in placed] == [path.encode() for path in paths]
    assert {path.stat().st_mode & 0o777 for path in placed} == {0o755}
    assert files_below(tmp_path) == {str(p.resolve().relative_to(tmp_path)) for p in placed}


def test_all_get_one_time(store: BlobStore, node: Node, workdir: Path) -> None:
    content = tar_of((member("sub", tarfile.DIRTYPE, mode=0o755), b""), (member("sub/x"), b"1"))
    made = [node.leaves("a", b"1"), node.leaves("b/c", b"2"), node.leaves("d", content, DIRECTORY, 0o555)]
    wants = [Product("a"), Product("b/c"), Product("d", DIRECTORY)]
    began_ns = time.time_ns()
    bring_back(store, record(*made), workdir, wanted=wants)
    times = {(workdir / p).stat().st_mtime_ns for p in ("a", "b/c", "d", "d/sub/x", f"d/{TIMESTAMP_FILE}")}
    assert len(times) == 1
    assert times.pop() > began_ns - HOUR_NS
    assert (workdir / "d").stat().st_mode & 0o777 == 0o555
    future_ns = time.time_ns() + HOUR_NS
    bring_back(store, record(*made), workdir, wanted=wants, newest_input_ns=future_ns)
    assert {(workdir / p).stat().st_mtime_ns for p in ("a", "b/c", f"d/{TIMESTAMP_FILE}")} == {future_ns}
    (workdir / "d").chmod(0o755)


def test_missing_outputs_are_all_named_and_optional_ones_not(store: BlobStore, node: Node, workdir: Path) -> None:
    made = record(node.leaves("a", b"1"))
    wants = [Product("a"), Product("b"), Product("temp", optional=True), Product("c")]
    with pytest.raises(StagingError, match=r"did not store these outputs: b, c$"):
        bring_back(store, made, workdir, wanted=wants)
    assert files_below(workdir) == set()
    assert bring_back(store, made, workdir, wanted=[wants[0], wants[2]]) == [workdir / "a"]


def test_a_folder_where_a_file_is_declared_is_refused(store: BlobStore, node: Node, workdir: Path) -> None:
    made = record(node.leaves("d", tar_of(), DIRECTORY))
    with pytest.raises(StagingError, match="output d is a folder, but the rule declares a file"):
        bring_back(store, made, workdir, wanted=[Product("d")])


def test_one_corrupt_output_leaves_all_old_ones(store: BlobStore, node: Node, workdir: Path) -> None:
    (workdir / "a").write_bytes(b"old a")
    (workdir / "b").write_bytes(b"old b")
    good, bad = node.leaves("a", b"new a"), node.leaves("b", b"new b")
    store.upload_bytes(bad.blob, b"other", overwrite=True)
    with pytest.raises(StagingError, match="b was not what the node stored"):
        bring_back(store, record(good, bad), workdir, wanted=[Product("a"), Product("b")])
    assert files_below(workdir) == {"a", "b"}
    assert ((workdir / "a").read_bytes(), (workdir / "b").read_bytes()) == (b"old a", b"old b")


def test_content_that_the_record_has_is_not_asked_for(store: BlobStore, node: Node, workdir: Path) -> None:
    made = [replace(node.leaves(path, b"1", mode=0o750), content="MQ==") for path in ("a", "d/b")]
    for one in made:
        store.remove(one.blob)
    placed = bring_back(store, record(*made), workdir, wanted=[Product("a"), Product("d/b")])
    assert [(path.read_bytes(), path.stat().st_mode & 0o777) for path in placed] == [(b"1", 0o750)] * 2


@pytest.mark.parametrize("content", ["Mg==", "MQ", "no base64", "", "MTE="])
def test_content_of_a_record_that_is_not_what_was_stored_does_not_count(
    store: BlobStore, node: Node, workdir: Path, content: str
) -> None:
    made = replace(node.leaves("a", b"1"), content=content)
    assert bring_back(store, record(made), workdir, wanted=[Product("a")])[0].read_bytes() == b"1"


def test_a_failure_while_placing_leaves_nothing_half_written(
    store: BlobStore, node: Node, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = place.put_in_place

    def disk_breaks_at_b(finished: Path, target: Path) -> None:
        if target.name == "b":
            raise OSError(5, "Input/output error")
        real(finished, target)

    monkeypatch.setattr(place, "put_in_place", disk_breaks_at_b)
    made = record(node.leaves("a", b"new a"), node.leaves("b", b"new b"))
    with pytest.raises(StagingError, match="could not be put in its place"):
        bring_back(store, made, workdir, wanted=[Product("a"), Product("b")])
    assert files_below(workdir) == {"a"}
    assert (workdir / "a").read_bytes() == b"new a"


def test_a_place_that_cannot_be_made_is_told(store: BlobStore, node: Node, workdir: Path) -> None:
    (workdir / "file").touch()
    with pytest.raises(StagingError, match="could not be put in its place: "):
        bring_back(store, record(node.leaves("file/x", b"1")), workdir, wanted=[Product("file/x")])
    assert files_below(workdir) == {"file"}


def test_whatever_was_there_is_replaced(store: BlobStore, node: Node, workdir: Path) -> None:
    (workdir / "protected").touch(mode=0o444)
    (workdir / "was_folder").mkdir()
    (workdir / "kept").write_bytes(b"kept")
    (workdir / "was_link").symlink_to("kept")
    (workdir / "d").write_bytes(b"was a file")
    (workdir / "link_to_folder").symlink_to("was_folder")
    made = [node.leaves(path, b"new") for path in ("protected", "was_folder", "was_link")]
    made += [node.leaves(path, tar_of(), DIRECTORY, 0o755) for path in ("d", "link_to_folder")]
    bring_back(store, record(*made), workdir, wanted=[Product(file.path, file.kind) for file in made])
    for path in ("protected", "was_folder", "was_link"):
        assert (workdir / path).read_bytes() == b"new"
        assert not (workdir / path).is_symlink()
    assert (workdir / "kept").read_bytes() == b"kept"
    assert [p.name for p in (workdir / "d").iterdir()] == [TIMESTAMP_FILE]
    assert not (workdir / "link_to_folder").is_symlink()
    assert not list(workdir.rglob(f"{place.TEMPORARY_PREFIX}*"))


def test_what_lies_in_a_folder_comes_with_it(
    store: BlobStore, node: Node, index: Index, transfers: Transfers, workdir: Path
) -> None:
    (workdir / "d").mkdir()
    (workdir / "d" / "old").touch()
    inside = [(member("l"), b"log"), (member("sub", tarfile.DIRTYPE, mode=0o755), b""), (member("sub/x"), b"x")]
    outputs = [node.leaves("d/sub/x", b"x"), node.leaves("d", tar_of(*inside), DIRECTORY, 0o755)]
    made = record(*outputs, logs=[node.leaves("d/l", b"log")])

    placed = bring_back(store, made, workdir, wanted=[Product(file.path, file.kind) for file in outputs])
    learn_outputs(index, made, workdir, placed)
    returned = bring_back_logs(store, made, workdir, wanted=[Product("d/l", optional=True)])

    assert placed == [workdir / "d/sub/x", workdir / "d"]
    assert returned.logs == [workdir / "d/l"]
    assert files_below(workdir) == {"d/l", "d/sub/x", f"d/{TIMESTAMP_FILE}"}
    up = transfers.upload_missing([wanted(workdir, "d"), wanted(workdir, "d/sub/x")])
    assert {up["d"].blob, up["d/sub/x"].blob} == {file.blob for file in outputs}, "both are known"


def test_logs_are_brought_as_far_as_they_can_be(store: BlobStore, node: Node, workdir: Path) -> None:
    logs = [node.leaves("logs/a.log", b"a"), StoredFile("logs/lost.log", "tasks/t1/lost", 1, "0" * 32)]
    streams = [node.leaves("../stdout.txt", b"out"), node.leaves("stderr.txt", b"err")]
    returned = bring_back_logs(
        store,
        record(logs=logs, streams=streams),
        workdir,
        wanted=[Product("logs/a.log"), Product("logs/lost.log"), Product("logs/never.log")],
        streams_folder=workdir / "failed" / "t1",
    )
    assert returned.logs == [workdir / "logs/a.log"]
    assert returned.streams == [workdir / "failed/t1/stdout.txt", workdir / "failed/t1/stderr.txt"]
    assert len(returned.problems) == 1
    assert "logs/lost.log" in returned.problems[0]
    assert files_below(workdir) == {"logs/a.log", "failed/t1/stdout.txt", "failed/t1/stderr.txt"}


def test_an_output_is_an_input_of_the_next_job_by_reference(
    store: BlobStore, node: Node, index: Index, transfers: Transfers, workdir: Path
) -> None:
    made = record(
        node.leaves("a", b"1"), node.leaves("d", tar_of((member("x"), b"1")), DIRECTORY, 0o755), node.leaves("t", b"3")
    )
    wants = [Product(file.path, file.kind) for file in made.outputs]
    placed = bring_back(store, made, workdir, wanted=wants)
    (workdir / "a").chmod(0o444)  # protected()
    (workdir / "t").unlink()  # temp()
    learn_outputs(index, made, workdir, placed)
    before = blob_names(store)
    up = transfers.upload_missing([wanted(workdir, "a"), wanted(workdir, "d")])
    assert [up["a"].blob, up["d"].blob] == [made.outputs[0].blob, made.outputs[1].blob]
    assert up["a"].mode == 0o444
    assert blob_names(store) == before
    (workdir / "a").chmod(0o644)
    assert transfers.known(wanted(workdir, "a")) is None
