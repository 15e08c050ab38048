"""Sources on a node: unpacked once, copied to each task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.cache import cache_folder
from snakemake_executor_azurebatch.node.protocol import CacheLimits, Sources

from .harness import WORKDIR, Site, products

HOME = WORKDIR.strip("/")
CONTENT = {
    f"{HOME}/Snakefile": b"rule a:\n",
    f"{HOME}/scripts": None,
    f"{HOME}/scripts/run": b"#!/bin/sh\n",
    f"{HOME}/link": "scripts/run",
    "home/lib.smk": b"lib\n",
}
SHOW = "find . -mindepth 1 -printf '%M %P %l %Ts\\n' | sort; cat Snakefile scripts/run link ../../lib.smk"


@pytest.fixture
def shared(site: Site, tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(folder)
    return folder


@pytest.fixture
def sources(site: Site, shared: Path) -> Sources:
    return site.sources(CONTENT)


def tree(shared: Path) -> Path:
    (found,) = shared.glob("smk-cache/v1-*/*.tree")
    return found


def test_a_copy_is_what_the_archive_gives(site: Site, sources: Sources, shared: Path) -> None:
    unpacked = site.run(SHOW, sources=sources)
    inode = tree(shared).stat().st_ino
    copied = site.another("t2").run(SHOW, sources=sources)
    plain = site.another("t3")
    del plain.extra_environment["AZ_BATCH_NODE_SHARED_DIR"]
    assert plain.run(SHOW, sources=sources).stdout == unpacked.stdout == copied.stdout != ""
    assert tree(shared).stat().st_ino == inode
    assert site.record().cache_hits == 0


def test_what_a_task_does_to_its_copy_stays_with_it(site: Site, sources: Sources) -> None:
    site.run("echo more >> Snakefile; rm link; echo new > scripts/new", sources=sources)
    other = site.another("t2")
    assert other.run("cat Snakefile link; ls scripts", sources=sources).stdout == "rule a:\n#!/bin/sh\nrun\n"
    assert other.record().cache_hits == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda home: (home / "Snakefile").write_bytes(b"harm"),
        lambda home: (home / "scripts" / "added").write_bytes(b"harm"),
        lambda home: (home / "Snakefile").unlink(),
        lambda home: (home / "link").unlink() or (home / "link").symlink_to("/etc/passwd"),
    ],
    ids=["written", "added", "removed", "another link"],
)
def test_a_tree_that_was_changed_is_made_anew(
    site: Site, sources: Sources, shared: Path, harm: Callable[[Path], object]
) -> None:
    good = site.run(SHOW, sources=sources)
    home = tree(shared) / HOME
    harm(home)
    results = [site.another(name).run(SHOW, sources=sources) for name in ("t2", "t3", "t4")]
    assert [result.stdout for result in results] == [good.stdout] * 3
    assert ["unpacking the sources again" in result.stderr for result in results] == [True, False, False]
    assert (tree(shared) / HOME / "Snakefile").read_bytes() == b"rule a:\n"


def test_what_a_dead_task_left_of_a_tree_is_not_used(site: Site, sources: Sources, shared: Path) -> None:
    good = site.run(SHOW, sources=sources)
    half = Path(f"{tree(shared)}.new")
    tree(shared).rename(half)
    (half / HOME / "Snakefile").unlink()
    assert site.another("t2").run(SHOW, sources=sources).stdout == good.stdout
    assert not half.exists()


def test_a_tree_goes_with_its_archive(site: Site, sources: Sources, shared: Path) -> None:
    site.run(sources=sources)
    other = site.another("t2")
    assert other.run(inputs=[site.file("a", b"x" * 1000)], cache=CacheLimits(max_bytes=1000)).exit_code == 0
    assert list(shared.glob("smk-cache/v1-*/*.tree")) == []
    assert len(list(shared.glob("smk-cache/v1-*/*.data"))) == 1


def test_a_broken_archive_is_told(site: Site, shared: Path) -> None:
    broken = b"no archive"
    item = site.file("x", broken)
    result = site.run(sources=Sources(item.blob, item.size_bytes, item.md5))
    assert result.exit_code == protocol.EXIT_STAGE_IN
    assert (site.record().error_message or "").startswith("sources: not a readable archive")
    assert not any(path.suffix == ".tree" for path in Path(cache_folder(str(shared))).iterdir())


def test_16_tasks_at_once_make_one_tree(site: Site, sources: Sources, shared: Path) -> None:
    tasks = [site.another(f"n{number}") for number in range(16)]
    started = [
        task.start(task.manifest("cat Snakefile > out", sources=sources, outputs=products("out"))) for task in tasks
    ]
    results = [task.finish(process) for task, process in zip(tasks, started, strict=True)]
    assert [result.exit_code for result in results] == [0] * 16, results
    assert not any("again" in result.stderr for result in results)
    assert {bytes(task.outputs()["out"]) for task in tasks} == {b"rule a:\n"}
    assert tree(shared).is_dir()
    assert sum(task.record().downloaded_bytes for task in tasks) == sources.size_bytes
