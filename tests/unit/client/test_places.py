"""Where outputs and logs may lie, and whether tasks can have any path at all."""

import asyncio
import os
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.running import container_runtime
from snakemake_executor_azurebatch.emulator.server import batch_service
from snakemake_executor_azurebatch.places import Places
from snakemake_executor_azurebatch.run.confinement import AS_PROCESSES, is_local


@pytest.fixture
def places(tmp_path) -> Places:
    folder = tmp_path / "work"
    folder.mkdir()
    return Places(folder)


@pytest.mark.parametrize(
    "path", ["a.txt", "new/a.txt", "../beside/a.txt", "../a.txt", "{tmp}/far/off/a", "{tmp}/work/a"]
)
def test_any_place_that_can_be_made_is_right(places, tmp_path, path):
    assert places.problem(path.format(tmp=tmp_path)) == ""


@pytest.mark.parametrize("path", ["/etc/a", "/usr/local/a", "/proc/self/a", "/dev/null", "/tmp/../sys/a", "/run/a"])
def test_the_systems_folders_are_refused_by_name(places, path):
    folder = "/" + os.path.normpath(path).split("/")[1]
    assert places.problem(path) == f"lies in {folder}, which is the system's. Outputs and logs cannot be there."


def test_a_link_into_a_system_folder_is_seen_through(places, tmp_path):
    (tmp_path / "way").symlink_to("/etc")
    assert "lies in /etc" in places.problem("../way/deep/a.txt")


def test_a_workdir_may_lie_anywhere():
    assert Places(Path("/usr/src/project")).problem("/usr/src/project/a.txt") == ""


def test_a_file_on_the_way_is_told(places, tmp_path):
    (tmp_path / "file").touch()
    assert places.problem("../file/a.txt") == f"cannot be made: {tmp_path}/file is no folder."


def test_a_folder_that_may_not_be_written_to_is_told(places, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert places.problem("../x/a.txt") == f"cannot be made: you may not write to {tmp_path}."


def test_without_containers_nothing_leaves_the_workdir_and_the_way_out_is_named(tmp_path):
    places = Places(tmp_path, AS_PROCESSES)
    assert places.problem("deep/a.txt") == ""
    for path in ("../a.txt", str(tmp_path / "a.txt")):
        assert places.problem(path).endswith(f": {AS_PROCESSES}.")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80", True),
        ("https://localhost:1", True),
        ("http://[::1]:5", True),
        ("https://my.westeurope.batch.azure.com", False),
        ("https://10.0.0.4", False),
    ],
)
def test_only_this_machine_is_asked_what_its_service_runs_tasks_in(url, expected):
    assert is_local(url) is expected


async def test_a_service_says_what_it_runs_tasks_in(tmp_path):
    async with batch_service(ServiceConfig(tmp_path)) as url:
        assert await asyncio.to_thread(container_runtime, url) == "process"
    assert await asyncio.to_thread(container_runtime, url) is None
