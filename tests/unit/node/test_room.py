"""Who leaves the node cache, and when. Real files; full disks are small file systems in memory."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.blob import Interrupted
from snakemake_executor_azurebatch.node.cache import Cache, key_of
from snakemake_executor_azurebatch.node.download import Wanted
from snakemake_executor_azurebatch.node.limits import MIB
from snakemake_executor_azurebatch.node.lock import locked
from snakemake_executor_azurebatch.node.protocol import CacheLimits
from snakemake_executor_azurebatch.node.room import NoRoom, disk_of

from .harness import Site, md5_of, products

Ask = Callable[..., bool]


def wanted(name: str, size_bytes: int = 1000) -> Wanted:
    return Wanted(name, name, size_bytes, md5_of(name.encode()))


def ask(folder: Path, name: str, size_bytes: int = 1000, must: bool = False, **limits: int) -> bool:
    """Ask a cache for a blob, as a task would; whether it was there."""
    cache = Cache(str(folder), CacheLimits(**limits), threading.Event())

    def fill(path: str) -> None:
        Path(path).write_bytes(name.encode().ljust(size_bytes))

    with cache.entry(wanted(name, size_bytes), 0o644, fill, must) as entry:
        assert Path(entry.path).read_bytes().strip() == name.encode()
        return entry.hit


def place(folder: Path, name: str, suffix: str, size_bytes: int = 1000) -> Path:
    return folder / (key_of(wanted(name, size_bytes)) + suffix)


def kept(folder: Path, names: str, size_bytes: int = 1000) -> str:
    return "".join(name for name in names if place(folder, name, ".data", size_bytes).exists())


def age(folder: Path, name: str, hours: int) -> None:
    path = place(folder, name, ".lock")
    at = path.stat().st_mtime - 3600 * hours
    os.utime(path, (at, at))


def test_the_least_recently_used_go_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    for hours, name in enumerate("abcd"):
        ask(tmp_path, name)
        age(tmp_path, name, 4 - hours)
    assert ask(tmp_path, "a")  # used again: now b is the oldest
    assert not ask(tmp_path, "e", max_bytes=4000)
    assert kept(tmp_path, "abcde") == "acde"
    assert not ask(tmp_path, "f", 2500, max_bytes=4000)
    assert kept(tmp_path, "abcde") == "e"
    assert place(tmp_path, "f", ".data", 2500).exists()
    assert not place(tmp_path, "b", ".lock").exists()


def test_what_is_held_or_linked_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for hours, name in enumerate("abc"):
        ask(tmp_path, name)
        age(tmp_path, name, 4 - hours)
    os.link(place(tmp_path, "b", ".data"), tmp_path / "of a task")
    with locked(str(place(tmp_path, "a", ".lock")), threading.Event()):
        assert not ask(tmp_path, "d", max_bytes=3000)
        assert kept(tmp_path, "abcd") == "abd"
        assert "cache: evicted 1 files, 1000 B" in capsys.readouterr().err
        with pytest.raises(NoRoom):
            ask(tmp_path, "e", 2000, max_bytes=3000)


def test_a_file_larger_than_the_cache_drives_nothing_out(tmp_path: Path) -> None:
    ask(tmp_path, "a")
    with pytest.raises(NoRoom):
        ask(tmp_path, "b", 4000, must=True, max_bytes=3000)
    assert kept(tmp_path, "a") == "a"


def test_the_disk_keeps_its_watermark(tmp_path: Path) -> None:
    """A watermark that no disk meets: all that can go goes, and only what is on this disk anyway comes."""
    ask(tmp_path, "a")
    above = disk_of(str(tmp_path)).total_bytes
    with pytest.raises(NoRoom):
        ask(tmp_path, "b", min_free_bytes=above)
    assert kept(tmp_path, "ab") == ""
    assert not ask(tmp_path, "b", must=True, min_free_bytes=above)
    assert ask(tmp_path, "b", min_free_bytes=above)  # what is there can be used


def test_downloads_under_way_count_as_done_and_dead_ones_are_removed(tmp_path: Path) -> None:
    for hours, name in enumerate("ab"):
        ask(tmp_path, name)
        age(tmp_path, name, 4 - hours)
    for name in "xy":
        with place(tmp_path, name, ".part").open("wb") as part:
            part.truncate(1_000_000)
    with locked(str(place(tmp_path, "x", ".lock")), threading.Event()), pytest.raises(NoRoom):
        ask(tmp_path, "c", max_bytes=500_000)
    assert place(tmp_path, "x", ".part").exists()
    assert not place(tmp_path, "y", ".part").exists()
    assert not ask(tmp_path, "c", max_bytes=500_000)


def test_a_lock_that_was_removed_while_waited_for_is_made_anew(tmp_path: Path) -> None:
    path, stopping, order = tmp_path / "a.lock", threading.Event(), []
    waits = threading.Event()

    class Waiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()
            return super().wait(timeout)

    def other() -> None:
        with locked(str(path), Waiting()):
            order.append(path.exists())

    with locked(str(path), stopping):
        thread = threading.Thread(target=other)
        thread.start()
        waits.wait()
        path.unlink()
        with locked(str(path), stopping):  # of one that came after the removal
            order.append(True)
    thread.join()
    assert order == [True, True]


def test_a_stopped_task_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    path = str(tmp_path / "a.lock")
    with locked(path, threading.Event()):
        with locked(path, stopping, wait=False) as mine:
            assert not mine
        with pytest.raises(Interrupted), locked(path, stopping):
            pytest.fail("has two holders")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A node's folders on a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def crowded(site: Site, small_disk: Path) -> Site:
    site.task_dir = small_disk / "t1"
    site.task_dir.mkdir()
    (small_disk / "shared").mkdir()
    site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(small_disk / "shared")
    return site


def test_old_files_make_room_for_new_ones(crowded: Site) -> None:
    first, second = (crowded.file(name, os.urandom(5 * MIB // 2)) for name in "ab")
    assert crowded.run(inputs=[first]).exit_code == 0
    other = crowded.another("t2")
    result = other.run("wc -c < b > out", inputs=[second], outputs=products("out"))
    assert result.exit_code == 0, result.stderr
    assert "cache: evicted 1 files, 2.5 MiB" in result.stderr


def test_a_disk_that_fills_up_is_cleared_once(crowded: Site) -> None:
    """No watermark, so that nothing is evicted until the disk is full."""
    first, second = (crowded.file(name, os.urandom(5 * MIB // 2)) for name in "ab")
    limits = CacheLimits(min_free_bytes=-100 * MIB)
    assert crowded.run(inputs=[first], cache=limits).exit_code == 0
    other = crowded.another("t2")
    result = other.run("wc -c < b > out", inputs=[second], outputs=products("out"), cache=limits)
    assert result.exit_code == 0, result.stderr
    assert "evicted" not in result.stderr
    assert other.outputs() == {"out": b"2621440\n"}


@pytest.mark.parametrize("kind", [protocol.FILE, protocol.DIRECTORY])
def test_a_disk_that_stays_full_is_told(crowded: Site, kind: str) -> None:
    data = os.urandom(5 * MIB)
    item = crowded.file("large", data) if kind == protocol.FILE else crowded.folder("large", {"x": data})
    assert crowded.run("touch ran", inputs=[item]).exit_code == protocol.EXIT_STAGE_IN
    record = crowded.record()
    assert (record.phase, record.error_class) == ("stage_in", protocol.ERROR_STAGE_IN)
    message = record.error_message or ""
    assert "no space left on the node's disk (large has 5.0 MiB, " in message
    assert message.endswith(" were free)")
