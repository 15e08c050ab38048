"""Putting files and folders in their places."""

import os
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.staging import place


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o444, 0o600, 0o777])
def test_a_new_file_has_its_permission_bits_whatever_the_process_takes_away(tmp_path: Path, umask: None, mode: int):
    place.write_new(tmp_path / "new", b"content", mode)

    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode


def test_a_new_file_replaces_nothing(tmp_path: Path):
    (tmp_path / "there").write_bytes(b"old")

    with pytest.raises(FileExistsError, match="there"):
        place.write_new(tmp_path / "there", b"new", 0o644)

    assert (tmp_path / "there").read_bytes() == b"old"


def test_temporary_names_are_all_different_and_those_of_dead_processes_go(tmp_path: Path):
    left = place.beside(tmp_path / "x").name.replace(f"-{os.getpid()}-", "-999999999-")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / left).write_bytes(b"half")

    names = {place.beside(tmp_path / "deeper" / "x") for _ in range(100)}

    assert len(names) == 100
    assert list((tmp_path / "deeper").iterdir()) == []


@pytest.mark.parametrize("there", ["nothing", "file", "link", "full folder", "empty folder", "protected folder"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_replaces_the_other(tmp_path: Path, kind: str, there: str):
    target, new, kept = tmp_path / "target", tmp_path / "new", tmp_path / "kept"
    kept.mkdir()
    (kept / "stays").touch()
    if there == "file":
        target.write_bytes(b"old")
    elif there == "link":
        target.symlink_to("kept")
    elif there != "nothing":
        target.mkdir()
        if there != "empty folder":
            (target / "old").write_bytes(b"old")
        if there == "protected folder":
            target.chmod(0o555)
    if kind == "file":
        new.write_bytes(b"new")
    else:
        new.mkdir()
        (new / "inside").write_bytes(b"new")

    place.put_in_place(new, target)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "target"]
    assert (target if kind == "file" else target / "inside").read_bytes() == b"new"
    assert not target.is_symlink()
    assert [p.name for p in kept.iterdir()] == ["stays"]
    assert not (target / "old").exists()
