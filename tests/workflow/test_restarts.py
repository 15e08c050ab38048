"""A run that cannot begin leaves what an earlier one has left; one that runs loses no more jobs than it must."""

import os
import signal

from azure.batch import BatchClient

from tests.contract.conftest import wait_until

from . import test_lease, test_resume
from .test_openings import running

#: The fixtures of other tests.
own, client, killed = test_lease.own, test_lease.client, test_resume.killed

HELD = """
rule all:
    input: "small.txt", "large.txt"

rule small:
    output: "small.txt"
    shell: "echo small >> HERE/starts; until [ -e HERE/end ]; do sleep 0.1; done; touch {output}"

rule large:
    output: "large.txt"
    resources: mem_mib=20000
    shell: "echo large >> HERE/starts; until [ -e HERE/end ]; do sleep 0.1; done; touch {output}"
"""

CHECKPOINT = """
rule all:
    input: "held.txt", "late.txt"

rule held:
    output: "held.txt"
    shell: "until [ -e GO ]; do sleep 0.1; done; cat {workflow.basedir}/extra.txt > {output}"

checkpoint some:
    output: "some.txt"
    shell: "rm {workflow.basedir}/extra.txt; echo one > {output}"

rule late:
    input: lambda wildcards: checkpoints.some.get().output[0]
    output: "late.txt"
    shell: "cp {input} {output}"
"""


def killed_while_all_runs(own):
    """Two tasks, on a pool each, whose controller is gone."""
    with running(own, HELD) as run:
        wait_until(lambda: len(starts(own)) == 2 or run.poll() is not None)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    own.run_locally("--unlock").must_succeed()


def starts(own) -> list[str]:
    file = own.path / "starts"
    return sorted(file.read_text().split()) if file.exists() else []


def states(client: BatchClient) -> list[tuple[str, str]]:
    """Of all Batch jobs, and of their tasks."""
    return sorted(
        (str(job.state.value), str(task.state.value))
        for job in client.list_jobs()
        for task in client.list_tasks(job.id)
    )


def spoilt(workdir) -> list[tuple[str, str]]:
    """Options with which nothing can begin, and what is said then: a typo, and a file that nobody can read."""
    (workdir.path / "unreadable").symlink_to("/proc/self/mem")
    return [("tpyo.txt", "--azurebatch-extra-files: tpyo.txt: not found"), ("unreadable", "unreadable cannot be read")]


def test_tasks_live_on_when_the_next_run_cannot_begin(killed):
    killed.write(test_resume.HELD)
    killed.kill_when("held0.txt", "held1.txt", states={"running": 2})
    [job] = killed.jobs()

    for file, told in spoilt(killed.workdir):
        outcome = killed.run("held0.txt", "held1.txt", "--azurebatch-extra-files", file)
        outcome.must_fail()
        assert told in outcome.text
        assert killed.states() == {"running": 2}
        assert [one.id for one in killed.jobs()] == [job.id]

    killed.go.touch()
    text = killed.run("held0.txt", "held1.txt").must_succeed().text
    assert "Went on with 2 of 2 jobs" in text
    assert killed.starts() == {"held0": 1, "held1": 1}
    assert not killed.jobs()


def test_so_they_do_on_several_pools(own, client):
    killed_while_all_runs(own)
    assert states(client) == [("active", "running")] * 2

    for file, told in spoilt(own):
        with running(own, HELD, "--azurebatch-extra-files", file) as run:
            assert run.wait() != 0
        assert told in own.read("log")
        assert states(client) == [("active", "running")] * 2

    with running(own, HELD) as run:
        wait_until(lambda: own.read("log").count("Went on with") == 2 or run.poll() is not None)
        own.write("end", "")
        assert run.wait() == 0, own.read("log")
    assert starts(own) == ["large", "small"]
    assert states(client) == [("completed", "completed")] * 2


def test_ctrl_c_ends_all_that_was_left(own, client):
    """Also on a pool that no job has come to yet."""
    killed_while_all_runs(own)
    with running(own, HELD, "large.txt") as run:
        wait_until(lambda: "Went on with" in own.read("log") or run.poll() is not None)
        os.kill(run.pid, signal.SIGINT)
        run.wait()
    wait_until(lambda: {job for job, _ in states(client)} == {"completed"})


def test_a_source_that_is_gone_fails_the_jobs_that_need_it_and_no_other(killed):
    killed.write(CHECKPOINT)
    killed.workdir.write("extra.txt", "extra\n")
    with killed.running("--azurebatch-extra-files", "extra.txt", "--keep-going") as process:
        text = test_resume.read_until(process, "--azurebatch-extra-files: extra.txt: not found")
        killed.workdir.write("extra.txt", "again\n")
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Error in rule late" in text + rest
    assert "Cancelling" not in text + rest
    assert killed.workdir.read("held.txt") == "again\n"
    killed.workdir.run(*test_resume.POOL, "--azurebatch-extra-files", "extra.txt").must_succeed()
