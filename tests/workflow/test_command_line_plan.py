"""What the command line says about which jobs run, and what Snakemake thinks of their files afterwards."""

import os
import re
import subprocess

import pytest

from tests.workflow.conftest import Workdir


def beside(workdir) -> Workdir:
    """A second folder, for the same run with Snakemake's local executor."""
    twin = Workdir(workdir.path.parent / "locally", workdir.service, workdir.environment)
    twin.path.mkdir()
    return twin


def plan(workdir, *arguments: str) -> dict[str, str]:
    """What ``snakemake -n`` would do: the rules, and why."""
    text = workdir.run_locally("-n", *arguments).must_succeed().text
    rules = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", text, re.MULTILINE)
    reasons = {name: re.search(r"    reason: (.*)", body)[1] for name, body in rules}
    # A set of files is named in any order.
    return {name: " ".join(sorted(re.split("[ ,;]+", reason))) for name, reason in reasons.items()}


TRIGGERS = """
rule all:
    input: "code.txt", "params.txt", "inputs.txt", "content.txt", "software.txt", "kept.txt"

rule code:
    output: "code.txt"
    shell: "echo CODE > {output}"

rule params:
    output: "params.txt"
    params: value="PARAMS"
    shell: "echo {params.value} > {output}"

rule inputs:
    input: ["in.txt"] INPUTS
    output: "inputs.txt"
    shell: "cat {input} > {output}"

rule content:
    input: "changing.txt"
    output: "content.txt"
    shell: "cat {input} > {output}"

rule software:
    output: "software.txt"
    container: "docker://example.org/SOFTWARE"
    shell: "touch {output}"

rule kept:
    input: "in.txt"
    output: "kept.txt"
    shell: "cp {input} {output}"
"""


def test_everything_that_triggers_a_rerun_is_seen_as_after_a_local_run(workdir):
    twin = beside(workdir)
    for where, run in ((workdir, workdir.run), (twin, twin.run_locally)):
        where.write("Snakefile", TRIGGERS.replace("INPUTS", ""))
        for name in ("in.txt", "changing.txt", "more.txt"):
            where.write(name, f"{name}\n")
        run().must_succeed()
        assert plan(where) == {}
        changed = TRIGGERS.replace("echo CODE", "echo OTHER").replace("PARAMS", "OTHER").replace("SOFTWARE", "OTHER")
        where.write("Snakefile", changed.replace("INPUTS", "+ ['more.txt']"))
        where.write("changing.txt", "changed\n")

    planned = plan(workdir)
    assert planned == plan(twin)
    assert set(planned) >= {"code", "params", "inputs", "content"}
    assert "kept" not in planned
    assert set(plan(workdir, "--rerun-triggers", "mtime")) == {"content", "all"}


CHAIN = """
rule all:
    input: expand("c{n}.txt", n=range(4))

rule a:
    output: temp("a{n}.txt")
    shell: "echo a > {output}"

rule b:
    input: "a{n}.txt"
    output: "b{n}.txt"
    shell: "cat {input} > {output}"

rule c:
    input: "b{n}.txt"
    output: "c{n}.txt"
    shell: "cat {input} > {output}"
"""


def made(workdir) -> str:
    return " ".join(sorted(path.stem for path in workdir.path.glob("*.txt")))


@pytest.mark.long
def test_a_part_of_the_workflow(workdir):
    workdir.write("Snakefile", CHAIN)

    workdir.run("--until", "a", "--notemp").must_succeed()
    assert made(workdir) == "a0 a1 a2 a3"

    workdir.run("--batch", "all=1/2").must_succeed()
    assert made(workdir) == "a2 a3 b0 b1 c0 c1"

    workdir.run("--omit-from", "c", "--forcerun", "b", "--allowed-rules", "all", "a", "b", "c").must_succeed()
    assert made(workdir) == "b0 b1 b2 b3 c0 c1"

    workdir.run("--forceall", "--all-temp").must_succeed()
    assert made(workdir) == "c0 c1 c2 c3"


@pytest.mark.long
def test_what_needs_no_service_needs_no_account(workdir):
    workdir.write("Snakefile", CHAIN)
    workdir.run("--notemp").must_succeed()
    workdir.write("b0.txt", "another\n")
    before = len(workdir.requests())
    bare = Workdir(workdir.path, workdir.service, dict.fromkeys(workdir.service.environment, ""))

    def without_account(*arguments: str) -> str:
        command = [*bare.azurebatch(*arguments)]
        url = command.index("--azurebatch-account-url")
        del command[url : url + 2]
        return bare.call(command).must_succeed().text

    assert set(plan(bare)) == {"c", "all"}
    assert re.search(r"^c +1$", without_account("--dry-run"), re.MULTILINE)
    without_account("--touch")
    bare.nothing_to_do()
    without_account("--cleanup-metadata", "c1.txt")
    without_account("--unlock")
    without_account("--delete-temp-output")
    assert made(bare) == "b0 b1 b2 b3 c0 c1 c2 c3"
    without_account("--delete-all-output")
    assert made(bare) == ""
    assert len(workdir.requests()) == before


FAILING = """
rule all:
    input: "after.txt", "good.txt"

rule bad:
    output: "half.txt"
    log: "bad.log"
    shell: "echo half > {output}; echo said in the log > {log}; exit BAD"

rule after:
    input: "half.txt"
    output: "after.txt"
    shell: "cp {input} {output}"

rule first:
    output: "first.txt"
    shell: "echo good > {output}"

rule good:
    input: "first.txt"
    output: "good.txt"
    shell: "cp {input} {output}"
"""


@pytest.mark.long
def test_what_a_failed_job_left_is_never_taken_for_its_output(workdir):
    workdir.write("Snakefile", FAILING.replace("BAD", "1"))

    outcome = workdir.run("--keep-going", "--keep-incomplete", "--show-failed-logs", "--retries", "1").must_fail()

    assert "said in the log" in outcome.text
    assert len(re.findall("^Trying to restart job", outcome.text, re.MULTILINE)) == 1
    assert workdir.read("good.txt") == "good\n"
    assert set(plan(workdir)) == {"bad", "after", "all"}
    workdir.write("Snakefile", FAILING.replace("BAD", "0"))
    workdir.run("--rerun-triggers", "mtime").must_succeed()
    assert workdir.read("after.txt") == "half\n"


KILLED = """
rule a:
    output: "a.txt"
    shell: "GATE echo whole > {output}"
"""


@pytest.mark.long
def test_an_incomplete_file_is_made_again_when_told(workdir):
    started, gate = workdir.path.parent / "started", workdir.path.parent / "gate"
    os.mkfifo(started)
    wait = f"echo yes > {started}; until test -e {gate}; do sleep 0.2; done;"
    workdir.write("Snakefile", KILLED.replace("GATE", wait))
    controller = subprocess.Popen(
        workdir.azurebatch(),
        cwd=workdir.path,
        env=workdir.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    assert started.read_text() == "yes\n"  # returns when the job runs
    controller.kill()
    controller.wait()
    workdir.write("a.txt", "half\n")
    workdir.write("Snakefile", KILLED.replace("GATE", ""))

    assert "IncompleteFilesException" in workdir.run().must_fail().text
    assert "--unlock" in workdir.run("--rerun-incomplete").must_fail().text
    workdir.run("--unlock").must_succeed()
    workdir.run("--rerun-incomplete").must_succeed()
    gate.touch()  # the first job, if it is still there, ends as well

    assert workdir.read("a.txt") == "whole\n"
    workdir.nothing_to_do()
