"""What a user sees when a job fails."""

import re
from pathlib import Path

FAILING = """
rule all:
    input: "good.txt", "bad.txt"

rule good:
    output: "good.txt"
    shell: "echo fine > {output}"

rule bad:
    output: "bad.txt"
    log: "logs/bad.log"
    shell: "echo half > {output}; echo noted > {log}; echo what went wrong >&2; exit 42"
"""


def test_a_failing_command_is_explained(workdir):
    workdir.write("Snakefile", FAILING)

    outcome = workdir.run("--keep-going").must_fail()

    assert "the command failed, exit code 42." in outcome.text
    assert "  | what went wrong" in outcome.text
    saved = re.search(r"Saved: (\S+stdout\.txt), (\S+stderr\.txt)", outcome.text)
    assert saved, outcome.text
    assert "what went wrong" in workdir.read(saved[2])
    assert workdir.read("logs/bad.log") == "noted\n"
    assert not (workdir.path / "bad.txt").exists()
    assert workdir.read("good.txt") == "fine\n"
    assert "\nJobs: 1 succeeded, 1 failed in " in outcome.text


def test_a_declared_output_that_is_not_made(workdir):
    workdir.write("Snakefile", 'rule a:\n    output: "a.txt", directory("d")\n    shell: "true"\n')

    outcome = workdir.run("--latency-wait", "60").must_fail()

    assert "a.txt" in outcome.text
    assert "d" in outcome.text
    assert not (workdir.path / "a.txt").exists()


def test_retries_count_attempts(workdir):
    workdir.write(
        "Snakefile",
        'rule a:\n    output: "a.txt"\n    retries: 2\n    resources: n=lambda w, attempt: attempt\n'
        '    shell: "test {resources.n} = 3 && echo {resources.n} > {output}"\n',
    )

    workdir.run().must_succeed()

    assert workdir.read("a.txt") == "3\n"


def test_an_update_that_fails_leaves_the_old_file(workdir):
    workdir.write("db.txt", "precious\n")
    workdir.write(
        "Snakefile",
        'rule all:\n    input: "done.txt"\n\n'
        'rule add:\n    output: db=update("db.txt"), done="done.txt"\n'
        '    shell: "echo more >> {output.db}; touch {output.done}; test -e go"\n',
    )

    workdir.run().must_fail()

    assert workdir.read("db.txt") == "precious\n"


def test_an_update_of_a_file_that_is_not_there_yet(workdir):
    workdir.write(
        "Snakefile",
        'rule add:\n    output: update("db.txt")\n    shell: "echo more >> {output}; test -e go"\n',
    )

    outcome = workdir.run().must_fail()

    # What the task's own Snakemake wrote is quoted with a bar.
    own = [line for line in outcome.text.splitlines() if not line.lstrip().startswith("|")]
    assert not [line for line in own if "Cannot restore" in line]
    assert not (workdir.path / "db.txt").exists()


def test_temporary_names_of_failed_jobs_do_not_stay(workdir):
    workdir.write("Snakefile", FAILING)

    workdir.run("--keep-going").must_fail()

    left = {str(p.relative_to(workdir.path)) for p in workdir.path.rglob("*") if ".snakemake" not in p.parts}
    assert left == {"Snakefile", "good.txt", "logs", "logs/bad.log"}
    assert Path(workdir.path, ".snakemake/azurebatch/logs").is_dir()
