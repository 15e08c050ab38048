"""Folders as archives: what is kept, and what no archive may do."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node.archive import Unpacker, pack, packed_size
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.placer import Placer
from snakemake_executor_azurebatch.node.workspace import Workspace, open_workspace

from .harness import tar_of


def unpacker(root: Path) -> Unpacker:
    return Unpacker(Placer(str(root), Workspace(str(root), "/", str(root)), 10**18))


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    odd = os.fsdecode(b"not utf-8 \xff")
    (source / "a" / "b").mkdir(parents=True)
    (source / ("long" * 60)).write_bytes(b"long")
    (source / "a" / odd).write_bytes(b"odd")
    (source / "a" / "é\n").write_bytes(b"x" * 100_000)
    os.link(source / "a" / odd, source / "a" / "same")
    (source / "a" / "link").symlink_to(odd)
    os.mkfifo(source / "pipe")
    (source / "a").chmod(0o500)
    stream = io.BytesIO()
    pack(str(source), stream)
    assert len(stream.getvalue()) <= packed_size(str(source))
    again = io.BytesIO()
    pack(str(source), again)
    assert again.getvalue() == stream.getvalue()
    (tmp_path / "tar").write_bytes(stream.getvalue())
    target.mkdir()
    unpacker(target).unpack(str(tmp_path / "tar"))
    found = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert set(found) == {"a", "a/b", "long" * 60, f"a/{odd}", "a/é\n", "a/same", "a/link"}
    assert found["a/link"].readlink() == Path(odd)
    assert found["a/same"].read_bytes() == b"odd"
    assert found["a"].stat().st_mode & 0o777 == 0o500
    assert {path.lstat().st_mtime_ns for path in found.values()} == {10**18}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_member_may_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "tar").write_bytes(tar_of({name: b"x"}))
    with pytest.raises(StageError, match="outside"):
        unpacker(tmp_path / "root").unpack(str(tmp_path / "tar"))


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "tar").write_bytes(tar_of({"a": "../outside", "a/x": b"x"}))
    with pytest.raises(StageError, match="is there already and differs"):
        unpacker(tmp_path / "root").unpack(str(tmp_path / "tar"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_nothing_is_written_through_a_link_of_an_earlier_archive(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    workspace = open_workspace(str(tmp_path), "/work", same_path=False)
    place = Unpacker(Placer(workspace.workdir, workspace, 0))
    (tmp_path / "tar").write_bytes(tar_of({"a": str(tmp_path / "outside")}))
    place.unpack(str(tmp_path / "tar"))
    (tmp_path / "tar").write_bytes(tar_of({"a/x": b"x"}))
    with pytest.raises(StageError, match="through a symbolic link"):
        place.unpack(str(tmp_path / "tar"))
    with pytest.raises(StageError, match="through a symbolic link"):
        workspace.make_folder(workspace.locate("a/b"))
    assert list((tmp_path / "outside").glob("x")) == []


def test_a_hard_link_stays_inside_and_shares_the_file(tmp_path: Path) -> None:
    def archive(linkname: str) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            info = tarfile.TarInfo("b/link")
            info.type, info.linkname = tarfile.LNKTYPE, linkname
            tar.addfile(info)
            info = tarfile.TarInfo("a")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
        return stream.getvalue()

    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "tar").write_bytes(archive("a"))
    unpacker(tmp_path / "root").unpack(str(tmp_path / "tar"))
    assert (tmp_path / "root" / "b" / "link").samefile(tmp_path / "root" / "a")
    (tmp_path / "tar").write_bytes(archive("../secret"))
    with pytest.raises(StageError, match="outside"):
        unpacker(tmp_path / "root").unpack(str(tmp_path / "tar"))


def test_a_device_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(info)
    (tmp_path / "tar").write_bytes(stream.getvalue())
    with pytest.raises(StageError, match="neither file, folder nor link"):
        unpacker(tmp_path).unpack(str(tmp_path / "tar"))


# With ids of their own: what gzip writes has the time in it, and every worker must collect the same names.
@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", tar_of({"a": b"x" * 5000}, "w:gz")[:60]],
    ids=["empty", "no archive", "cut short"],
)
def test_a_broken_archive_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tar").write_bytes(data)
    with pytest.raises(StageError, match=r"not a readable archive|cannot unpack"):
        unpacker(tmp_path / "root").unpack(str(tmp_path / "tar"))
