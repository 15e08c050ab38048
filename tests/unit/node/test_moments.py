"""A task is told to stop at any moment of its own work: it ends, soon, and its record says how."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol

from .harness import Result, Site, products

#: The stager, which counts what its functions do, in all threads, and sends itself a signal at one of these events.
DRIVER = """
import itertools, os, signal, sys, threading

sys.path.insert(0, os.environ["STAGER"])
numbers, moment, told = itertools.count(1), int(os.environ["MOMENT"]), os.environ["TOLD"]


def look(frame, event, argument):
    number = next(numbers)
    if number == moment:
        of = getattr(argument, "__qualname__", "") if event.startswith("c_") else frame.f_code.co_name
        with open(told, "w") as stream:
            stream.write("%s %s, %s:%d" % (event, of, frame.f_code.co_filename, frame.f_lineno))
        os.kill(os.getpid(), signal.SIGTERM)


from stager import task

run = task.Task.run


def counted(self):
    threading.setprofile(look)
    sys.setprofile(look)
    try:
        return run(self)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        with open(told + "-events", "w") as stream:
            stream.write(str(next(numbers)))


task.Task.run = counted
sys.exit(task.run_task())
"""


@pytest.fixture
def counting(site: Site, tmp_path: Path) -> Site:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    site.extra_environment.update(STAGER=str(site.stager), TOLD=str(tmp_path / "told"))
    site.stager = driver
    return site


def run_until(site: Site, moment: int) -> Result:
    """Run a task of some files, which gets a signal at this event of its own; with 0 it gets none."""
    manifest = site.manifest(
        "cat a b c > out",
        inputs=[site.file(name, name.encode()) for name in ("a", "b", "c")],
        outputs=products("out"),
        logs=products("log", optional=True),
    )
    site.extra_environment["MOMENT"] = str(moment)
    return site.finish(site.start(manifest))


def test_a_signal_at_any_moment_leaves_a_record(counting: Site, tmp_path: Path, python: str) -> None:
    counting.python = python
    assert run_until(counting, 0).exit_code == 0
    assert counting.outputs() == {"out": b"abc"}
    events = int((tmp_path / "told-events").read_text())
    assert events > 1000
    for moment in random.sample(range(1, events), 4):
        site = counting.another(f"m{moment}")
        result = run_until(site, moment)
        told, record = (tmp_path / "told").read_text(), site.record()
        if result.exit_code == 0:  # there was nothing left to stop
            assert (record.phase, site.outputs()) == ("done", {"out": b"abc"}), told
        else:
            assert result.exit_code == 128 + 15, f"{told}: {result.stderr}"
            assert (record.reason, record.outputs) == (protocol.REASON_STOPPED, []), told
