"""What a rule promises and does not keep, and what a node cannot do: told clearly, and nothing wrong is left."""

import hashlib
import os
import shutil
import stat
import subprocess
from importlib.metadata import version

import pytest


def snakemake_version():
    return tuple(int(number) for number in version("snakemake").split(".")[:2])


GOOD = hashlib.sha256(b"good\n").hexdigest()

ENSURED = f"""
rule all:
    input: "empty.txt", "changed.txt", "fixed.txt"

rule empty:
    output: ensure("empty.txt", non_empty=True)
    shell: ": > {{output}}"

rule changed:
    output: ensure("changed.txt", sha256="{GOOD}")
    retries: 1
    shell: "echo bad > {{output}}"

rule fixed:
    output: ensure("fixed.txt", sha256=lambda wildcards: "{GOOD}")
    retries: 1
    resources: n=lambda wildcards, attempt: attempt
    shell: "test {{resources.n}} = 2 && echo good > {{output}} || echo bad > {{output}}"
"""


def test_outputs_that_are_not_as_ensured(workdir):
    workdir.write("Snakefile", ENSURED)

    outcome = workdir.run("--keep-going").must_fail()

    assert "Detected unexpected empty output files" in outcome.text
    assert "Output files have checksums that differ from the expected ones" in outcome.text
    # Tried again, as said. A Snakemake before 9.26 tells of each failed job once more at the end.
    told = 2 if snakemake_version() >= (9, 26) else 3
    assert outcome.text.count("Error in rule changed:") == told
    assert not (workdir.path / "empty.txt").exists()
    assert not (workdir.path / "changed.txt").exists()
    assert workdir.read("fixed.txt") == "good\n"


def test_a_protected_file_that_is_to_be_made_again(workdir):
    """Refused, or done again for root, who may write to everything: as Snakemake's own executor does it."""
    workdir.write("in.txt", "one\n")
    workdir.write(
        "Snakefile", 'rule a:\n    input: "in.txt"\n    output: protected("a.txt")\n    shell: "cp {input} {output}"\n'
    )
    workdir.run().must_succeed()
    workdir.write("in.txt", "two\n")

    outcome = workdir.run()

    assert not (workdir.path / "a.txt").stat().st_mode & stat.S_IWUSR
    if os.geteuid() == 0:
        outcome.must_succeed()
        assert workdir.read("a.txt") == "two\n"
    else:
        assert "Write-protected output files" in outcome.must_fail().text
        assert workdir.read("a.txt") == "one\n"


@pytest.mark.parametrize("method", ["conda", "apptainer"])
def test_software_that_the_node_cannot_deploy(method, workdir):
    if shutil.which(method):
        pytest.skip(f"{method} is installed, and the nodes of the local service have what this machine has")
    workdir.write("envs/a.yaml", "channels: [conda-forge]\ndependencies: [zlib]\n")
    workdir.write(
        "Snakefile",
        'rule a:\n    output: "a.txt"\n    conda: "envs/a.yaml"\n    container: "docker://nowhere.invalid/a"\n'
        '    shell: "touch {output}"\n',
    )

    outcome = workdir.run("--sdm", method).must_fail()

    assert "What deploys software (--sdm) has to be where tasks run" in outcome.text
    assert not (workdir.path / "a.txt").exists()


def test_sources_in_a_git_repository_of_this_machine(workdir, tmp_path):
    repository = tmp_path / "repository"
    (repository / "tool").mkdir(parents=True)
    (repository / "tool/wrapper.py").write_text("open(snakemake.output[0], 'w').close()\n")
    (repository / "tool/environment.yaml").write_text("channels: [conda-forge]\ndependencies: [zlib]\n")
    (repository / "Snakefile").write_text('rule b:\n    output: "b.txt"\n    shell: "touch {output}"\n')
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"], ["tag", "v1"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    workdir.write(
        "Snakefile",
        f'module m:\n    snakefile: gitfile("{repository}", path="Snakefile", tag="v1")\n\nuse rule * from m\n\n'
        'rule a:\n    output: "a.txt"\n    wrapper: "v1/tool"\n',
    )

    outcome = workdir.run("a.txt", "b.txt", "--wrapper-prefix", f"git+file://{repository}/").must_fail()

    assert "This workflow cannot run on Azure Batch as it is" in outcome.text
    told = [line for line in outcome.text.splitlines() if "is in a git repository of this machine" in line]
    assert len(told) == 2
    assert "Snakefile" in told[0]
    assert "tool" in told[1]
