"""The stager as one file."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.cache import BOOT_ID
from snakemake_executor_azurebatch.node.command import command_environment
from snakemake_executor_azurebatch.staging.bundle import build_stager, stager_digest

OLD = {name: Path(f"~/.pyenv/versions/{name}/bin/python").expanduser() for name in ("2.7.18", "3.6.15", "3.7.16")}
BUILD = """
import sys
from snakemake_executor_azurebatch.staging.bundle import build_stager
sys.stdout.buffer.write(build_stager())
"""


def test_the_same_sources_give_the_same_bytes() -> None:
    data = build_stager()
    assert build_stager() == data
    elsewhere = subprocess.run(
        [
            sys.executable,
            "-c",
            BUILD,
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"},
    )
    assert elsewhere.stdout == data
    assert stager_digest(data) == hashlib.sha256(data).hexdigest()


def test_it_holds_the_package_and_nothing_else() -> None:
    data = build_stager()
    assert data.startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert names == sorted(names)
    assert {"__main__.py", "stager/protocol.py", "stager/pinned_snakemake.py", "stager/main.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)


@pytest.mark.parametrize("version", OLD)
def test_an_old_python_is_told_in_one_line(stager: Path, version: str) -> None:
    if not OLD[version].exists():
        pytest.skip(f"no Python {version} here")
    done = subprocess.run([str(OLD[version]), str(stager)], capture_output=True, text=True, check=False)
    assert done.returncode == protocol.EXIT_NO_PYTHON
    assert done.stderr.startswith("[stage] Python 3.8 or newer is needed, ")
    assert done.stderr.count("\n") == 1
    assert version in done.stderr


def test_an_unknown_argument_is_refused(stager: Path) -> None:
    done = subprocess.run([sys.executable, str(stager), "other"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "[stage] unknown argument other; known: snakemake\n")


def test_snakemake_is_the_other_way_in(stager: Path) -> None:
    """Without Snakemake and pins it cannot go far, but must get there."""
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    done = subprocess.run(
        [python, "-I", "-S", str(stager), "snakemake"], capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode not in (0, 2)
    assert "pinned_snakemake.py" in done.stderr


def test_start_up_loads_nothing_heavy(stager: Path, python: str) -> None:
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1]]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(' '.join(sorted({'tarfile', 'shutil', 'logging', 'urllib.request'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [python, "-I", "-S", "-c", code, str(stager)], capture_output=True, text=True, check=True, env={}
    )
    assert protocol.ENV_READ_URL in done.stderr
    assert done.stdout.split() == []


def started(stager: Path, python: str, shared: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-S", str(stager), "other"], capture_output=True, text=True, check=False,
        env={"AZ_BATCH_NODE_SHARED_DIR": str(shared)},
    )  # fmt: skip


def compiled_archives(shared: Path) -> list[Path]:
    return sorted((shared / "smk-cache/stager").iterdir())


def test_the_first_task_of_a_node_compiles_for_the_others(stager: Path, python: str, tmp_path: Path) -> None:
    told = "[stage] unknown argument other; known: snakemake\n"
    assert started(stager, python, tmp_path).stderr == told
    (archive,) = compiled_archives(tmp_path)
    with zipfile.ZipFile(archive) as compiled:
        assert all(name.endswith(".pyc") for name in compiled.namelist())
        contents = {name: compiled.read(name) for name in compiled.namelist()}
    assert archive.stat().st_mode & 0o777 == 0o644
    # What is there is what is run: here another module in its place.
    code = "import sys, marshal; sys.stdout.buffer.write(marshal.dumps(compile('main = lambda argv: 7', 'x', 'exec')))"
    other = subprocess.run([python, "-c", code], capture_output=True, check=True).stdout
    header = contents["stager/main.pyc"][:16]
    with zipfile.ZipFile(archive, "w") as changed:
        for name, data in {**contents, "stager/main.pyc": header + other}.items():
            changed.writestr(name, data)
    assert started(stager, python, tmp_path).returncode == 7
    archive.chmod(0o666)  # who has written that?
    assert started(stager, python, tmp_path).stderr == told
    assert compiled_archives(tmp_path) == [archive]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: bytes(len(data)), lambda data: data[:-1000]])
def test_a_compiled_archive_that_is_damaged_is_removed(
    stager: Path, python: str, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    told = "[stage] unknown argument other; known: snakemake\n"
    started(stager, python, tmp_path)
    (archive,) = compiled_archives(tmp_path)
    archive.write_bytes(damage(archive.read_bytes()))

    assert started(stager, python, tmp_path).stderr == told
    assert compiled_archives(tmp_path) == []
    assert started(stager, python, tmp_path).stderr == told
    assert compiled_archives(tmp_path) == [archive]


@pytest.mark.skipif(not Path(BOOT_ID).exists(), reason="the kernel gives its boots no names")
def test_a_compiled_archive_of_another_boot_is_not_used(stager: Path, tmp_path: Path) -> None:
    started(stager, sys.executable, tmp_path)
    (archive,) = compiled_archives(tmp_path)
    other = archive.with_name(archive.name.replace(Path(BOOT_ID).read_text().strip(), "another"))
    archive.rename(other)
    started(stager, sys.executable, tmp_path)
    assert compiled_archives(tmp_path) == [archive] != [other]


def test_a_shared_folder_that_cannot_be_written_is_no_trouble(stager: Path, tmp_path: Path) -> None:
    (tmp_path / "smk-cache").write_text("a file in the way")
    assert started(stager, sys.executable, tmp_path).stderr == "[stage] unknown argument other; known: snakemake\n"


def test_a_user_without_an_entry_has_a_home_and_a_name() -> None:
    found = command_environment({protocol.ENV_READ_URL: "secret", "KEPT": "1"}, {"ADDED": "2"}, "/home/x")
    assert (found["KEPT"], found["ADDED"]) == ("1", "2")
    assert protocol.ENV_READ_URL not in found
    assert found["USER"] == found["LOGNAME"] != ""
    assert command_environment({"LOGNAME": "me"}, {}, "/x")["USER"] == "me"


def test_a_home_that_is_no_folder_to_write_to_is_replaced(tmp_path: Path) -> None:
    for named in ("/home/_azbatchtask_1", sys.executable, ""):
        assert command_environment({"HOME": named}, {}, "/task")["HOME"] == "/task"
    assert command_environment({"HOME": str(tmp_path)}, {}, "/task")["HOME"] == str(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_a_home_of_another_user_is_replaced() -> None:
    assert command_environment({"HOME": "/"}, {}, "/task")["HOME"] == "/task"
