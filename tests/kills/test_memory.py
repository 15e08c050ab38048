"""A file is read, sent, received and written in pieces: memory does not grow with its size."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from . import measure
from .nowhere import nowhere

MIB, GIB = 1 << 20, 1 << 30
MOST_BYTES = 200 * MIB


def md5_of_zeros(size_bytes: int) -> str:
    md5, zeros = hashlib.md5(usedforsecurity=False), bytes(MIB)
    for _ in range(size_bytes // MIB):
        md5.update(zeros)
    return md5.hexdigest()


@pytest.mark.parametrize("size_bytes", [300 * MIB, pytest.param(20 * GIB, marks=pytest.mark.kills)])
@pytest.mark.timeout(3600)
def test_memory_is_bounded(tmp_path: Path, size_bytes: int) -> None:
    """Really read and really sent, to a server that keeps nothing."""
    md5 = md5_of_zeros(size_bytes)
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as stream:
        stream.truncate(size_bytes)
    for who in ("controller", "stager"):
        with nowhere(size_bytes, md5) as storage:
            up = _growth_bytes(who, "upload", storage.url, source, size_bytes, md5)
            assert (storage.received_bytes, storage.committed) == (size_bytes, True)
            down = _growth_bytes(who, "download", storage.url, target, size_bytes, md5)
            assert target.stat().st_size == size_bytes
            target.unlink()
        print(f"{who}: {size_bytes / GIB:.1f} GiB in {storage.blocks} blocks: {up / MIB:.0f} MiB, {down / MIB:.0f} MiB")
        assert up < MOST_BYTES
        assert down < MOST_BYTES


def _growth_bytes(who: str, way: str, url: str, file: Path, size_bytes: int, md5: str) -> int:
    arguments = [who, way, url, str(file), str(size_bytes), md5]
    done = subprocess.run([sys.executable, measure.__file__, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
