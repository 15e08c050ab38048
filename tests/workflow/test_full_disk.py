"""A disk of the controller that is full while outputs come back."""

import os
import subprocess

import pytest

WORKFLOW = """
rule all:
    input: "out/large.bin", "out/small.txt", "other.txt"

rule large:
    output: "out/large.bin"
    shell: "head -c 6000000 /dev/zero > {output}"

rule small:
    output: "out/small.txt"
    shell: "echo small > {output}"

rule other:
    output: "other.txt"
    shell: "echo other > {output}"
"""


@pytest.fixture
def small_disk(workdir):
    folder = workdir.path / "out"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_one_job_fails_with_the_disks_name_and_others_go_on(workdir, small_disk):
    workdir.write("Snakefile", WORKFLOW)

    outcome = workdir.run("--keep-going").must_fail()

    assert "out/large.bin cannot be written here: No space left on device" in outcome.text
    assert f"the disk at {small_disk} has" in outcome.text
    assert [path.name for path in small_disk.iterdir()] == ["small.txt"]
    assert (workdir.read("out/small.txt"), workdir.read("other.txt")) == ("small\n", "other\n")
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    workdir.run().must_succeed()
    assert (small_disk / "large.bin").read_bytes() == bytes(6_000_000)
