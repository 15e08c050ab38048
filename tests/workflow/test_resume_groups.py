"""Groups of a run that was killed: Snakemake names and orders them otherwise in the next process."""

import pytest

from tests.contract.conftest import wait_until as wait_not_long_until

from . import test_resume
from .test_resume import BLIND, read_until, wait_until

killed = test_resume.killed

#: A group that Snakemake gives a random name, and one whose members it takes out of a set.
GROUPS = """
rule all:
    input: "piped.txt", expand("part{i}.txt", i=range(PARTS))

rule producer:
    output: pipe("lines")
    shell: "echo piped >> STARTED; until [ -e GO ]; do sleep 0.1; done; echo line > {output}"

rule consumer:
    input: "lines"
    output: "piped.txt"
    shell: "cat {input} > {output}"

rule part:
    output: "part{i}.txt"
    group: "parts"
    shell: "echo part{wildcards.i} >> STARTED; until [ -e GO ]; do sleep 0.1; done; echo {wildcards.i} > {output}"
"""


@pytest.mark.parametrize("has_finished", [False, True], ids=["running", "finished"])
def test_groups_are_taken_over_whatever_they_are_called(killed, has_finished):
    killed.write(GROUPS.replace("PARTS", "2"))
    together = ("--group-components", "parts=2")
    with killed.running(*BLIND, *together) as process:
        wait_until(lambda: len(killed.starts()) == 3, process)
        if has_finished:
            killed.go.touch()
            wait_until(lambda: killed.states() == {"completed": 2}, process)
    killed.unlock()

    with killed.running("--rerun-incomplete", *together) as process:
        text = read_until(process, "Went on with", "Ended task")
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text + rest
    assert "Went on with 2 of 2 jobs" in text
    assert killed.starts() == {"piped": 1, "part0": 1, "part1": 1}
    assert [killed.workdir.read(name) for name in ("piped.txt", "part0.txt", "part1.txt")] == ["line\n", "0\n", "1\n"]


def test_groups_that_are_put_together_otherwise_are_ended(killed):
    """The old ones have all nodes: the new ones come to run only when those have ended."""
    killed.write(GROUPS.replace("PARTS", "4"))
    parts = [f"part{i}.txt" for i in range(4)]
    with killed.running(*BLIND, "--group-components", "parts=2", "--", *parts) as process:
        wait_until(lambda: len(killed.starts()) == 4, process)
    killed.unlock()
    old = {task.id for _, task in killed.tasks()}

    with killed.running("--rerun-incomplete", "--", *parts) as process:
        wait_not_long_until(lambda: set(killed.starts().values()) == {2} or process.poll() is not None)
        alive = {task.id for _, task in killed.tasks() if task.state != "completed"}
        killed.go.touch()
        text, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text
    assert len(old) == 2
    assert len(alive) == 4
    assert not old & alive
    assert all(f"Ended task {key} of an earlier run" in text for key in old)
    assert [killed.workdir.read(part) for part in parts] == [f"{i}\n" for i in range(4)]
