"""The controller is killed (SIGKILL) at any moment of a workflow of 60 jobs, and the next run ends it.

A moment is a number of lines that Snakemake has printed, so that it does not depend on how fast the machine is.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator import service as emulator
from tests.workflow.conftest import Workdir
from tests.workflow.test_resume import Killed

CHAINS = 20
MOMENTS = int(os.environ.get("KILL_MOMENTS", "20"))
SEED = int(os.environ.get("KILL_SEED", "20261120"))

SNAKEFILE = f"""
rule all:
    input: expand("c{{i}}.txt", i=range({CHAINS}))

rule a:
    output: "a{{i}}.txt"
    shell: "echo a{{wildcards.i}} >> STARTED; echo {{wildcards.i}} > {{output}}"

rule b:
    input: "a{{i}}.txt"
    output: directory("b{{i}}")
    shell: "echo b{{wildcards.i}} >> STARTED; mkdir {{output}}; cat {{input}} {{input}} > {{output}}/twice"

rule c:
    input: "b{{i}}"
    output: "c{{i}}.txt"
    shell: "echo c{{wildcards.i}} >> STARTED; cat {{input}}/twice {{input}}/twice > {{output}}"
"""


@pytest.fixture(scope="module")
def with_blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.RunningService]:
    with emulator.start(tmp_path_factory.mktemp("service"), lifeline=True) as started:
        yield started.service


def lay_out(folder: Path, service: emulator.RunningService) -> Killed:
    folder.mkdir(parents=True)
    killed = Killed(Workdir(folder / "work", service))
    killed.workdir.path.mkdir()
    killed.write(SNAKEFILE)
    return killed


def lines_of_a_run(folder: Path, service: emulator.RunningService) -> int:
    killed = lay_out(folder, service)
    with killed.running("--rerun-incomplete") as process:
        lines = process.stdout.readlines()
        process.wait()
    assert process.returncode == 0, "".join(lines)
    return len(lines)


def ended_well(killed: Killed) -> set[str]:
    """Commands whose tasks have ended by now."""
    ids = (str(task.id) for _, task in killed.tasks() if task.state == "completed")
    return {"".join(task_id.split("-")[:2]) for task_id in ids}


def check(killed: Killed, ended: set[str]) -> Counter[str]:
    """Everything is right, and what had ended has not been run again."""
    starts = killed.starts()
    for i in range(CHAINS):
        assert killed.workdir.read(f"c{i}.txt") == f"{i}\n" * 4
    assert len(starts) == 3 * CHAINS
    again = {name for name in ended if starts[name] > 1}
    assert not again, f"run again although they had ended well: {sorted(again)}"
    killed.workdir.nothing_to_do()
    return starts


@pytest.mark.kills
@pytest.mark.timeout(3600)
def test_killed_at_any_moment(tmp_path: Path, with_blobs: emulator.RunningService) -> None:
    total = lines_of_a_run(tmp_path / "whole", with_blobs)
    moments = random.Random(SEED).sample(range(1, total), MOMENTS)
    for moment in moments:
        folder = tmp_path / f"killed-{moment}"
        killed = lay_out(folder, with_blobs)
        with killed.running("--rerun-incomplete") as process:
            for number, _ in enumerate(process.stdout, 1):
                if number == moment:
                    break
        ended = ended_well(killed)
        if any((killed.workdir.path / ".snakemake/locks").glob("*")):
            killed.unlock()

        outcome = killed.run()

        assert outcome.status == 0, f"killed after line {moment} of {total}:\n{outcome.text}"
        starts = check(killed, ended)
        went_on = sum(line.startswith("Went on with") for line in outcome.text.splitlines())
        repeated = sum(starts.values()) - len(starts)
        print(f"line {moment} of {total}: {len(ended)} had ended, {went_on} times gone on, {repeated} repeated")
        shutil.rmtree(folder)
