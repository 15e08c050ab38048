"""Runs of one folder that are alive at the same time: Snakemake's lock lets those with other outputs do so."""

import signal

import pytest

from . import test_resume
from .test_resume import HELD, read_until, wait_until

killed = test_resume.killed

OTHER = "Another run is alive in this folder: what it has on Azure Batch is left alone."


@pytest.mark.parametrize("first", [[], pytest.param(["--nolock"], marks=pytest.mark.long)], ids=["locked", "nolock"])
def test_neither_touches_what_the_other_has(killed, first):
    killed.write(HELD)
    with killed.running(*first, "held0.txt") as one:
        wait_until(lambda: killed.starts() == {"held0": 1}, one)
        [(job, task)] = killed.tasks()
        with killed.running("--azurebatch-blob-retention", "run", "held1.txt") as two:
            wait_until(lambda: killed.starts() == {"held0": 1, "held1": 1}, two)
            assert len(killed.jobs()) == 2
            killed.go.with_name("go.held1").touch()
            text, _ = two.communicate(timeout=300)
        assert two.returncode == 0, text
        assert OTHER in text
        assert "No blobs are removed: another run may be alive in this folder." in text
        assert "An earlier run" not in text
        assert "Ended" not in text
        assert [(name, one.id, one.state) for name, one in killed.tasks()] == [(job, task.id, "running")]
        killed.go.with_name("go.held0").touch()
        text, _ = one.communicate(timeout=300)

    assert one.returncode == 0, text
    assert killed.starts() == {"held0": 1, "held1": 1}
    assert [killed.workdir.read(f"held{i}.txt") for i in range(2)] == ["0\n", "1\n"]
    assert list((killed.workdir.path / ".snakemake/azurebatch/claims").iterdir()) == []


def test_a_killed_run_is_taken_over_while_another_one_lives(killed):
    killed.write(HELD)
    with killed.running("held0.txt") as one:
        wait_until(lambda: killed.starts() == {"held0": 1}, one)
        with killed.running("held1.txt") as two:
            wait_until(lambda: killed.starts() == {"held0": 1, "held1": 1}, two)
            two.send_signal(signal.SIGKILL)
            two.wait()
        killed.unlock()
        with killed.running("--rerun-incomplete", "held1.txt") as three:
            text = read_until(three, "on pool resume-pool")
            killed.go.touch()
            rest, _ = three.communicate(timeout=300)
        assert three.returncode == 0, text + rest
        assert OTHER in text
        assert "An earlier run has left 1 task that wait or run" in text
        text, _ = one.communicate(timeout=300)

    assert one.returncode == 0, text
    assert killed.starts() == {"held0": 1, "held1": 1}


def test_a_killed_run_is_taken_over_from_a_machine_of_another_name(killed, tmp_path):
    """A login node of a cluster, a container that was made again, a laptop in another network."""
    killed.write(HELD)
    killed.kill_when("held0.txt", states={"running": 1})
    renaming = tmp_path / "renaming"
    renaming.mkdir()
    (renaming / "sitecustomize.py").write_text("import platform\nplatform.node = lambda: 'login2'\n")
    killed.workdir.environment["PYTHONPATH"] = f"{renaming}:{killed.workdir.variables().get('PYTHONPATH', '')}"

    with killed.running("--rerun-incomplete", "held0.txt") as process:
        text = read_until(process, "on pool resume-pool")
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text + rest
    assert killed.starts() == {"held0": 1}
