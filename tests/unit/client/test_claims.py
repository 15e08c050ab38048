"""Claims: what a run has while it lives, and what one other run gets when it is dead."""

import errno
import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from snakemake_executor_azurebatch.run.claims import Claims

#: A run: enters, tells whether it has got what it was told to take, and goes on until its input ends.
RUN = """
import os, sys
from pathlib import Path
from snakemake_executor_azurebatch.run.claims import Claims

folder, name, run, children = sys.argv[1:]
claims = Claims(Path(folder), print)
claims.enter(run, takes_over=True)
print("took" if claims.take(name) else "refused", flush=True)
if children == "forks" and os.fork() == 0:
    os.close(1)
sys.stdin.read()
claims.close()
"""


@contextmanager
def running(folder, name="job", run="one", children=""):
    command = [sys.executable, "-c", RUN, str(folder), name, run, children]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.stdin.close()


def answer(run):
    """Whether it has got what it was told to take."""
    return next(line for line in run.stdout if not line.startswith(("Another", "Waiting"))) == "took\n"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claims"


@pytest.fixture
def said():
    return []


@pytest.fixture
def claims(folder, said):
    mine = Claims(folder, said.append)
    yield mine
    mine.close()


def test_what_a_living_run_has_is_left_alone_until_it_ends(folder, said, claims):
    with running(folder) as other:
        assert answer(other)
        claims.enter("two", takes_over=True)

        assert not claims.take("job")
        assert claims.take("another job")
        assert said == ["Another run is alive in this folder: what it has on Azure Batch is left alone."]
    assert not claims.take("job"), "what was not free at the start may have been ended meanwhile"
    claims.close()

    later = Claims(folder, said.append)
    later.enter("three", takes_over=True)
    assert later.take("job")
    assert len(said) == 1
    later.close()
    assert list(folder.iterdir()) == []


def test_a_killed_run_gives_back_what_it_has_although_its_child_lives(folder, said, claims):
    with running(folder, children="forks") as other:
        assert answer(other)
        other.kill()
        other.wait()
        claims.enter("two", takes_over=True)

        assert claims.take("job")
        assert said == []


def test_of_many_runs_one_gets_it(folder):
    with running(folder, run="1") as a, running(folder, run="2") as b, running(folder, run="3") as c:
        assert [answer(run) for run in (a, b, c)].count(True) == 1


def test_a_run_without_snakemakes_lock_is_seen_and_takes_nothing_over(folder, said, claims):
    with running(folder) as other:
        assert answer(other)
        other.kill()
    claims.enter("two", takes_over=False)
    assert sorted(path.name for path in folder.iterdir()) == ["job", "run-one", "run-two"]

    with running(folder, run="three") as third:
        assert "Another run is alive" in third.stdout.readline()
        assert third.stdout.readline() == "took\n", "the dead run's"


def test_none_is_alone_while_another_lives_and_none_begins_while_one_is(folder, claims):
    claims.enter("one", takes_over=True)
    with running(folder) as other:
        assert answer(other)
        with claims.alone() as is_alone:
            assert not is_alone
    with ExitStack() as runs:
        with claims.alone() as is_alone:
            assert is_alone
            later = runs.enter_context(running(folder, run="three"))
            assert later.stdout.readline().startswith("Waiting for another run in this folder, ")
            assert not select.select([later.stdout], [], [], 0.5)[0]
        assert later.stdout.readline().startswith("Another run is alive")
        assert later.stdout.readline() == "took\n"


def silent(folder, said, **options):
    return Claims(folder, said.append, machine="mine", **options)


def test_another_machines_run_that_shows_that_it_is_alive_is_left_alone(folder, said):
    folder.mkdir()
    claim, others = folder / "job", [folder / "lines", folder / "pool"]
    for one in (claim, *others):
        one.write_text("other\nlogin2\n1\n")
    stop = threading.Event()

    def beat():
        while not stop.wait(0.1):
            for one in (claim, *others):
                os.utime(one)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        mine = silent(folder, said, silent_s=30)
        mine.enter("one", takes_over=True)
        assert not any(mine.take(name) for name in ("job", "lines", "pool"))
        assert claim.read_text() == "other\nlogin2\n1\n"
    finally:
        stop.set()
        beating.join()
    mine.close()
    assert said[0].startswith("Waiting for up to ")
    assert said[0].endswith(" s to see whether the run on login2 that had job is alive.")
    assert sum(text.startswith("Waiting") for text in said) == 1  # it is the same run that has the others


@pytest.mark.parametrize(("age_s", "is_told"), [(0, True), (3600, False)])
def test_another_machines_run_that_is_silent_is_dead(folder, said, age_s, is_told):
    folder.mkdir()
    claim = folder / "job"
    claim.write_text("other\nlogin2\n1\n")
    os.utime(claim, (time.time() - age_s,) * 2)
    mine = silent(folder, said, silent_s=0.5)

    mine.enter("one", takes_over=True)

    assert mine.take("job")
    assert claim.read_text().startswith("mine\n")
    assert bool(said) is is_told
    mine.close()


def test_a_beat_touches_what_a_run_has(folder, claims):
    claims.take("job")
    os.utime(folder / "job", (0, 0))

    claims.beat()

    assert time.time() - (folder / "job").stat().st_mtime < 60


def test_where_nothing_can_be_locked_nothing_is_taken(folder, said, claims, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)

    claims.enter("one", takes_over=True)

    assert not claims.take("job")
    with claims.alone() as is_alone:
        assert not is_alone
    [told] = said
    assert told == (
        f"Warning: files in {folder} cannot be locked (No locks available): what runs that were killed have left is "
        "not taken over, and no blobs are removed, since other runs may be alive."
    )
