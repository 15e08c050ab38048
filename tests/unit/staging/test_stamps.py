from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.staging import tree
from snakemake_executor_azurebatch.staging.stamps import TICK_NS, TIMESTAMP_FILE, Stamp


def changed_later(path: Path, change: Callable[[], object]) -> None:
    """Make the change, again and again until the file system's clock has moved on since before it."""
    before = path.stat().st_ctime_ns
    change()
    while path.stat().st_ctime_ns == before:
        change()


def same_size_and_mtime(path: Path, content: bytes) -> None:
    status = path.stat()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_change_at_equal_size_and_mtime_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    before = Stamp.of(path)
    changed_later(path, lambda: same_size_and_mtime(path, b"new"))
    after = Stamp.of(path)
    assert (after.size_bytes, after.mtime_ns, after.inode) == (before.size_bytes, before.mtime_ns, before.inode)
    assert after != before


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_bytes(b"old")
    other.write_bytes(b"new")
    before = Stamp.of(path)
    other.replace(path)
    assert Stamp.of(path) != before


def test_a_link_has_the_stamp_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to("x")
    assert Stamp.of(tmp_path / "link") == Stamp.of(tmp_path / "x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "sub" / "x").write_bytes(b"old")
    (folder / "link").symlink_to("sub/x")
    return folder


def _relink(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("sub")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "sub" / "new").touch(),
        lambda d: (d / "sub" / "x").unlink(),
        lambda d: (d / "sub" / "x").rename(d / "sub" / "y"),
        lambda d: (d / "sub" / "x").chmod(0o755),
        lambda d: (d / "sub" / "empty").rmdir(),
        lambda d: (d / "sub" / "empty").chmod(0o700),
        lambda d: d.chmod(0o700),
        lambda d: changed_later(d / "sub" / "x", lambda: same_size_and_mtime(d / "sub" / "x", b"new")),
        _relink,
    ],
)
def test_every_change_inside_a_folder_is_noticed(folder: Path, change: Callable[[Path], object]) -> None:
    before = Stamp.of(folder)
    assert Stamp.of(folder) == before
    change(folder)
    assert Stamp.of(folder) != before


def test_snakemakes_mark_does_not_change_a_folder(folder: Path) -> None:
    before = Stamp.of(folder)
    (folder / TIMESTAMP_FILE).touch()
    assert Stamp.of(folder) == before


def test_a_followed_link_that_leads_back_is_refused(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent)
    with pytest.raises(tree.LoopError, match="leads back"):
        Stamp.of(folder)


def test_a_fresh_file_is_not_settled(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    stamp = Stamp.of(path)
    assert not stamp.settled(stamp.ctime_ns)
    assert stamp.settled(stamp.ctime_ns + TICK_NS)
    assert Stamp(0, 0, 0, 1).settled(time.time_ns())


def test_a_time_in_the_future_tells_of_no_change(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("x", "d/y", "d/z"):
        (tmp_path / name).touch()
    for name in ("x", "d/y"):
        os.utime(tmp_path / name, (1 << 32, 1 << 32))
    for stamp in (Stamp.of(tmp_path / "x"), Stamp.of(tmp_path / "d")):
        assert stamp.mtime_ns > time.time_ns()
        assert not stamp.settled(stamp.ctime_ns)
        assert stamp.settled(stamp.ctime_ns + TICK_NS)
