"""The controller is killed; the next run goes on with its tasks, and repeats nothing that is right already."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.naming import container_name

POOL = ("--azurebatch-pool-id", "resume-pool")
#: The controller never looks at its tasks: what ends, ends unseen.
BLIND = ("--azurebatch-poll-interval", "3600")

#: Each task waits for GO, or for a file of its own.
HELD = """
import os, time

rule all:
    input: expand("held{i}.txt", i=range(8)), "grouped.txt"

rule held:
    output: "held{i}.txt"
    shell:
        "echo held{wildcards.i} >> STARTED; "
        "until [ -e GO ] || [ -e GO.held{wildcards.i} ]; do sleep 0.1; done; echo {wildcards.i} > {output}"

rule first:
    output: temp("first.txt")
    group: "both"
    run:
        with open("STARTED", "a") as stream:
            print("group", file=stream)
        while not (os.path.exists("GO") or os.path.exists("GO.group")):
            time.sleep(0.1)
        with open(output[0], "w") as stream:
            print("first", file=stream)

rule second:
    input: "first.txt"
    output: "grouped.txt"
    group: "both"
    shell: "cat {input} > {output}"
"""

CHANGING = """
rule all:
    input: "from_input.txt", "from_config.txt", "same.txt"

rule from_input:
    input: "in.txt"
    output: "from_input.txt"
    shell: "echo from_input >> STARTED; cat {input} > {output}"

rule from_config:
    output: "from_config.txt"
    params: config.get("word", "old")
    shell: "echo from_config >> STARTED; echo {params} > {output}"

rule same:
    output: "same.txt"
    shell: "echo same >> STARTED; echo same > {output}"
"""

#: One result is tracked in git.
TRACKED = """
rule all:
    input: "figure.txt", "held.txt"

rule figure:
    input: "in.txt"
    output: "figure.txt"
    shell: "echo figure >> STARTED; cat {input} > {output}"

rule held:
    output: "held.txt"
    shell: "echo held >> STARTED; until [ -e GO ]; do sleep 0.1; done; touch {output}"
"""


class Killed:
    """A workdir whose runs are killed, and what its tasks have done."""

    def __init__(self, workdir):
        self.workdir = workdir
        self.started = workdir.path.parent / "started"
        self.go = workdir.path.parent / "go"

    def write(self, text):
        self.workdir.write("Snakefile", text.replace("STARTED", str(self.started)).replace("GO", str(self.go)))

    def starts(self):
        """How often each command has been started, by the name that it gives itself."""
        return Counter(self.started.read_text().split()) if self.started.exists() else Counter()

    @contextmanager
    def running(self, *arguments, command=None):
        command = command or self.workdir.azurebatch(*POOL, *arguments, jobs=40)
        process = subprocess.Popen(
            command,
            cwd=self.workdir.path,
            env=self.workdir.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.communicate()

    def kill_when(self, *arguments, states, command=None):
        """Run until the tasks are in these states (name -> how many), kill the controller, and remove its lock."""
        with self.running(*BLIND, *arguments, command=command) as process:
            wait_until(lambda: self.states() == states, process)
        self.unlock(*arguments)

    def unlock(self, *arguments):
        backend = [*arguments[arguments.index("--persistence-backend") :][:2]] if "db" in arguments else []
        self.workdir.run_locally("--unlock", *backend).must_succeed()

    def states(self):
        """How many tasks the active Batch jobs of this workdir have in each state."""
        return Counter(str(getattr(task.state, "value", task.state)) for _, task in self.tasks())

    def batch(self):
        service = self.workdir.service
        credential = AzureNamedKeyCredential(service.account, service.environment["BATCH_ACCOUNT_KEY"])
        return BatchClient(service.batch_url, credential)

    def jobs(self):
        """The active Batch jobs of this workdir."""
        with self.batch() as client:
            active = list(client.list_jobs(filter="state eq 'active'"))
        return [job for job in active if str(self.workdir.path) in [item.value for item in job.metadata or []]]

    def tasks(self):
        with self.batch() as client:
            return [(job.id, task) for job in self.jobs() for task in client.list_tasks(job.id)]

    def lasts(self):
        """Until when the Batch job lasts, counted from its creation, and the access of its tasks, by their names."""
        environment = self.workdir.service.environment
        found = {job.id: job.constraints.max_wall_clock_time.total_seconds() for job in self.jobs()}
        with BlobServiceClient.from_connection_string(environment["STORAGE_ACCOUNT_CONNECTION_STRING"]) as client:
            container = client.get_container_client(container_name(str(self.workdir.path)))
            held = container.get_container_access_policy()["signed_identifiers"]
        return found | {one.id: one.access_policy.expiry for one in held}

    def run(self, *arguments):
        return self.workdir.run(*POOL, "--rerun-incomplete", *arguments, jobs=40)


@pytest.fixture
def killed(workdir):
    return Killed(workdir)


def wait_until(happened, process):
    while not happened():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.2)


def read_until(process, *words):
    """What it says, up to the first line with one of these."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if any(one in line for one in words):
            return "".join(lines)
    raise AssertionError("".join(lines))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="files"),
        pytest.param(["--rerun-incomplete", "--persistence-backend", "db"], id="db", marks=pytest.mark.long),
    ],
)
def test_waiting_running_and_finished_tasks_are_taken_over(killed, arguments):
    killed.write(HELD)
    with killed.running(*BLIND, *arguments) as process:
        wait_until(lambda: len(killed.starts()) == 4, process)
        for name in list(killed.starts())[:3]:
            killed.go.with_name(f"go.{name}").touch()
        wait_until(lambda: killed.states() == {"completed": 3, "running": 4, "active": 2}, process)
    killed.unlock(*arguments)
    before, lasted = {task.id for _, task in killed.tasks()}, killed.lasts()

    with killed.running(*arguments) as process:
        text = read_until(process, "Went on with 9 of 9 jobs")
        lasts = killed.lasts()
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text + rest
    assert "An earlier run has left 6 tasks that wait or run, and 3 tasks that have ended." in text
    assert set(killed.starts().values()) == {1}, killed.starts()
    assert len(killed.starts()) == 9
    assert [killed.workdir.read(f"held{i}.txt") for i in range(8)] == [f"{i}\n" for i in range(8)]
    assert killed.workdir.read("grouped.txt") == "first\n"
    assert not killed.jobs(), "the Batch job has ended"
    assert all(len(name) <= 64 and name.startswith(("held-", "both-")) for name in before)
    assert lasts.keys() == lasted.keys(), "the same Batch job, and the same stored access policies"
    assert all(lasts[name] > lasted[name] for name in lasts), "extended"
    if arguments:
        again = killed.run("--forceall", *arguments).must_succeed()
        assert "Went on with" not in again.text
        assert set(killed.starts().values()) == {2}, "what was taken over once is never taken again"


def test_work_that_has_changed_is_done_anew(killed):
    killed.write(CHANGING)
    killed.workdir.write("in.txt", "old\n")
    killed.kill_when(states={"completed": 3})
    killed.workdir.write("in.txt", "new and longer\n")

    killed.run("--config", "word=new").must_succeed()

    assert killed.starts() == {"from_input": 2, "from_config": 2, "same": 1}
    assert killed.workdir.read("from_input.txt") == "new and longer\n"
    assert killed.workdir.read("from_config.txt") == "new\n"
    assert killed.workdir.read("same.txt") == "same\n"


def test_a_task_of_old_code_is_ended(killed):
    killed.write(HELD)
    killed.kill_when("held0.txt", states={"running": 1})
    killed.write(HELD.replace("echo {wildcards.i} >", "echo new {wildcards.i} >"))
    with killed.running("--rerun-incomplete", "held0.txt") as process:
        text = read_until(process, "Ended task held-0-")
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text + rest
    assert killed.workdir.read("held0.txt") == "new 0\n"
    assert killed.starts() == {"held0": 2}


@pytest.mark.long
def test_what_has_finished_stays_until_it_is_asked_for(killed):
    """Also where blobs that nothing needs are removed at once, and from another Batch job."""
    killed.write(CHANGING)
    killed.workdir.write("in.txt", "old\n")
    killed.kill_when(states={"completed": 3})

    killed.run("same.txt", "--azurebatch-blob-retention", "run").must_succeed()
    assert killed.starts() == {"from_input": 1, "from_config": 1, "same": 1}
    text = killed.run("--azurebatch-blob-retention", "run").must_succeed().text

    assert "Went on with 2 of 2 jobs" in text
    assert killed.starts() == {"from_input": 1, "from_config": 1, "same": 1}
    assert [killed.workdir.read(f"{name}.txt") for name in ("from_input", "from_config")] == ["old\n", "old\n"]
    killed.workdir.nothing_to_do()


def test_a_new_version_of_a_result_that_git_tracks_changes_no_other_job(killed):
    killed.write(TRACKED)
    figure = killed.workdir.write("figure.txt", "old\n")
    for arguments in (("init", "-q"), ("add", "Snakefile", "figure.txt")):
        subprocess.run(["git", *arguments], cwd=killed.workdir.path, check=True)
    os.utime(figure, (1_000_000_000, 1_000_000_000))
    killed.workdir.write("in.txt", "new\n")
    with killed.running() as process:
        wait_until(lambda: len(killed.starts()) == 2 and figure.exists() and figure.read_text() == "new\n", process)
    killed.unlock()

    with killed.running("--rerun-incomplete") as process:
        text = read_until(process, "Went on with", "Ended task")
        killed.go.touch()
        rest, _ = process.communicate(timeout=300)

    assert process.returncode == 0, text + rest
    assert killed.starts() == {"figure": 1, "held": 1}
    assert "Went on with 1 of 1 jobs" in text


def test_a_failure_meanwhile_is_told_and_the_job_can_run_again(killed):
    killed.write('rule a:\n    output: "a.txt"\n    shell: "echo a >> STARTED; test -e GO; echo > {output}"\n')
    killed.kill_when(states={"completed": 1})

    killed.run().must_fail()
    assert killed.starts() == {"a": 1}
    killed.go.touch()
    killed.run().must_succeed()

    assert killed.starts() == {"a": 2}


@pytest.mark.long
def test_another_pool_or_no_lock_takes_over_nothing_that_runs(killed):
    killed.write(HELD)
    killed.kill_when("held0.txt", states={"running": 1})
    killed.go.touch()
    [(left, task)] = killed.tasks()

    text = killed.workdir.run("--nolock", "--rerun-incomplete", "held1.txt", *POOL).must_succeed().text
    assert "Went on" not in text
    assert "Ended" not in text
    assert (left, task.id) in [(job, task.id) for job, task in killed.tasks()]
    text = killed.workdir.run("--rerun-incomplete", "held2.txt").must_succeed().text

    assert f"Ended Batch job {left}, which a run that was killed has left." in text


@pytest.mark.long
def test_a_service_that_dies_with_the_controller_leaves_what_has_finished(killed):
    killed.write(CHANGING)
    killed.workdir.write("in.txt", "old\n")
    killed.workdir.environment["SNAKEMAKE_AZUREBATCH_EMULATOR_DIR"] = str(killed.workdir.path / "none")
    for name in killed.workdir.service.environment:
        killed.workdir.environment[name] = ""
    command = [
        *(sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--azurebatch-emulator", "--jobs", "10"),
        *("--azurebatch-task-slots-per-node", "4", "--nocolor", "--rerun-incomplete"),
    ]
    with killed.running(command=[*command, *BLIND]) as process:
        wait_until(lambda: len(killed.starts()) == 3, process)
        own = emulator.find(killed.workdir.path / ".snakemake/azurebatch/emulator")
        assert own is not None
        there = Killed(replace(killed.workdir, service=own))
        wait_until(lambda: there.states() == {"completed": 3}, process)
    killed.unlock()

    text = killed.workdir.call([*command, "--azurebatch-poll-interval", "0.3"]).must_succeed().text

    assert "Went on with 3 of 3 jobs" in text
    assert killed.starts() == {"from_input": 1, "from_config": 1, "same": 1}


def test_a_run_that_detaches_leaves_its_tasks_and_the_lock_is_free(killed):
    killed.write(HELD + '\nonerror:\n    shell("touch FAILED")\n')
    arguments = ("--azurebatch-detach", *POOL, "--jobs", "5")
    outcome = killed.workdir.run(*arguments)

    assert outcome.status == 1, outcome.text
    assert "Detached: 5 tasks go on without snakemake, for 168 hours at most." in outcome.text
    assert "Traceback" not in outcome.text
    assert not (killed.workdir.path / "FAILED").exists()
    assert killed.states().total() == 5
    killed.go.touch()
    text = killed.workdir.run(*POOL, jobs=40).must_succeed().text

    assert "Went on with 5 of 9 jobs" in text
    assert set(killed.starts().values()) == {1}
    assert len(killed.starts()) == 9
    assert killed.workdir.read("grouped.txt") == "first\n"
