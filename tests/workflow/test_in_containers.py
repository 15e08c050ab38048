"""Tasks in real containers, through the executor: outputs with any path, the node's cache, other users, bad images."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.agent.engine import COMMAND_VARIABLE
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.node import protocol
from tests.contract.container_support import unmount_below
from tests.unit.emulator.process_support import wait_until
from tests.workflow import container_support as images
from tests.workflow.conftest import Workdir
from tests.workflow.container_support import Podman, make_podman


@pytest.fixture(scope="module")
def podman(tmp_path_factory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    try:
        found = make_podman(folder)
        if isinstance(found, str):
            pytest.skip(found)
        yield found
        assert found.tool.services_containers() == []
    finally:
        unmount_below(folder)


@pytest.fixture(scope="module")
def container_service(podman, tmp_path_factory) -> Iterator[emulator.RunningService]:
    options = emulator.StartOptions(container_runtime="podman")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMMAND_VARIABLE, " ".join(podman.command))
        for name, value in podman.tool.environment.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("service")
        with emulator.start(folder, lifeline=True, progress=print, options=options) as started:
            yield started.service


@pytest.fixture
def boxed(tmp_path, container_service) -> Workdir:
    """A folder whose workflow runs in containers."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Workdir(folder, container_service)


ANYWHERE = """
import os

SHARED = os.path.abspath("../shared")

rule all:
    input: "total.txt", SHARED + "/tree"

rule computed:
    input: "in.txt"
    output: os.path.abspath("computed/a.txt")
    log: SHARED + "/logs/a.log"
    benchmark: SHARED + "/bench/a.tsv"
    shell: "cat {input} > {output}; pwd >> {output}; echo {output} >> {output}; echo logged > {log}"

rule beside:
    input: os.path.abspath("computed/a.txt")
    output: "../shared/b.txt"
    run:
        with open(input[0]) as source, open(output[0], "w") as target:
            target.write(source.read() + os.path.abspath(output[0]))

rule scripted:
    input: "../shared/b.txt"
    output: SHARED + "/deep/er/c.txt"
    log: "../shared/logs/c.log"
    script: "scripts/copy.py"

rule based:
    output: workflow.basedir + "/based/d.txt"
    shell: "realpath {output} > {output}"

rule folder:
    input: SHARED + "/deep/er/c.txt"
    output: directory(SHARED + "/tree")
    shell: "mkdir -p {output}/x/empty; cp {input} {output}/x/; ln -s x/c.txt {output}/link"

rule total:
    input:
        SHARED + "/deep/er/c.txt",
        "../shared/b.txt",
        workflow.basedir + "/based/d.txt",
        os.path.abspath("computed/a.txt"),
    output: "total.txt"
    shell: "cat {input} > {output}; echo {input} >> {output}"
"""

COPY = """
with open(snakemake.input[0]) as source, open(snakemake.output[0], "w") as target, open(snakemake.log[0], "w") as log:
    target.write(source.read() + snakemake.output[0])
    log.write("copied")
"""


def everything(*folders: Path) -> dict[str, bytes | str]:
    """All files and links below some folders; benchmarks without their figures."""
    found: dict[str, bytes | str] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if ".snakemake" not in path.parts):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file() and path.name != ".snakemake_timestamp":
            found[str(path)] = b"" if path.suffix == ".tsv" else path.read_bytes()
        else:
            found[str(path)] = "folder"
    return found


@pytest.mark.long
def test_any_path_gives_the_same_files_as_without_containers(boxed, tmp_path):
    project, shared = tmp_path / "project", tmp_path / "shared"
    (project / "scripts").mkdir(parents=True)
    (project / "Snakefile").write_text(ANYWHERE)
    (project / "scripts" / "copy.py").write_text(COPY)
    boxed.write("in.txt", "x\n")
    snakefile = ("--snakefile", "../project/Snakefile")

    def made() -> dict[str, bytes | str]:
        return everything(boxed.path, shared, project)

    boxed.run_locally(*snakefile).must_succeed()
    locally = made()
    for folder in (shared, boxed.path / "computed", project / "based"):
        shutil.rmtree(folder)
    (boxed.path / "total.txt").unlink()
    outcome = boxed.run("--container-image", images.GOOD, *snakefile).must_succeed()

    assert made() == locally
    assert boxed.read("computed/a.txt") == f"x\n{boxed.path}\n{boxed.path}/computed/a.txt\n"
    assert "Nothing to be done" in boxed.run_locally("-n", *snakefile).must_succeed().text
    assert [record.same_path for record in records(boxed)] == [True] * 6, outcome.text


ELSEWHERE = """
import os
{directive}

rule b:
    input: os.path.abspath("a.txt")
    output: "b.txt", os.path.abspath("../out/{{dots}}c.txt")
    shell: "cat {{input}} | tee {{output}}; pwd >> {{output[0]}}"

rule a:
    output: os.path.abspath("a.txt")
    shell: "pwd > {{output}}"
"""


def test_workdir_and_directory(boxed, tmp_path):
    """Both in a row: what is made in the one is not what is made in the other."""
    directive = tmp_path / "by-directive" / "deep"
    option = tmp_path / "by-option"
    boxed.write("Snakefile", ELSEWHERE.format(directive=f'workdir: "{directive}"').replace("{dots}", ""))
    boxed.run("--container-image", images.GOOD, "b").must_succeed()
    boxed.write("Snakefile", ELSEWHERE.format(directive="").replace("{dots}", ""))
    elevated = "--azurebatch-run-elevated"
    boxed.run("--container-image", images.GOOD, elevated, "--directory", str(option), "b").must_succeed()

    for folder in (directive, option):
        assert (folder / "b.txt").read_text() == f"{folder}\n{folder}\n"
        assert (folder.parent / "out" / "c.txt").read_text() == f"{folder}\n"
    assert not (boxed.path / "b.txt").exists()


SEVERAL = """
envvars: "WORD"

rule all:
    input: expand("{i}.txt", i=range(4)), "never.txt"

rule one:
    input: "big.bin"
    output: "{i}.txt"
    shell: 'wc -c < {input} > {output}; echo "$WORD" "$ORIGIN" >> {output}'

rule bad:
    input: "big.bin"
    output: "never.txt"
    log: "bad.log"
    shell: "echo why > {log}; exit 7"
"""


def test_a_node_downloads_once_environment_and_exit_codes_pass(boxed):
    word = "two words, \"quotes' and $HOME"
    boxed.environment["WORD"] = word
    boxed.write("big.bin", "x" * 300_000)
    boxed.write("Snakefile", SEVERAL)

    outcome = boxed.run(
        *("--container-image", images.GOOD, "--keep-going", "--azurebatch-dedicated-nodes", "1"),
        *("--azurebatch-pool-id", "one-node"),
    ).must_fail()

    assert {boxed.read(f"{i}.txt") for i in range(4)} == {f"300000\n{word} the image\n"}
    assert re.search(r"exit code:? 7\b", outcome.text), outcome.text
    assert boxed.read("bad.log") == "why\n"
    of_tasks = records(boxed)
    assert len(of_tasks) == 5
    assert 300_000 <= sum(record.downloaded_bytes for record in of_tasks) < 2 * 300_000


OTHER_USER = """
import os

rule all:
    input: "who.txt", "../beside.txt"

rule who:
    output: "who.txt", "../beside.txt"
    shell: "id -u | tee {output}"

rule anywhere:
    output: os.path.abspath("there.txt")
    log: os.path.abspath("there.log")
    shell: "id -u | tee {output} {log}"
"""


def test_a_user_who_cannot_make_the_path_gets_relative_files_only(boxed, podman):
    boxed.write("Snakefile", OTHER_USER)
    podman.run_as("1234:1234")
    try:
        boxed.run("--container-image", images.GOOD).must_succeed()
        outcome = boxed.run("--container-image", images.GOOD, str(boxed.path / "there.txt")).must_fail()
    finally:
        podman.run_as(None)

    assert boxed.read("who.txt") + boxed.read("../beside.txt") == "1234\n1234\n"
    first, second = sorted(records(boxed), key=lambda record: record.phase)
    assert (first.phase, first.same_path) == ("done", False)
    assert first.why_tree == f"user 1234 cannot make the folder {boxed.path}: Permission denied"
    assert (second.phase, second.error_class, second.same_path) == ("setup", protocol.ERROR_SETUP, False)
    assert "there.txt is an absolute path, and the task cannot run at the controller's own path" in outcome.text
    assert "--azurebatch-run-elevated" in outcome.text
    assert not (boxed.path / "there.txt").exists()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (images.WITHOUT_SNAKEMAKE, "cannot import Snakemake"),
        (images.OTHER_SNAKEMAKE, f"the container image has Snakemake {images.OTHER_VERSION}, but the controller runs"),
        (images.WITHOUT_PYTHON, "there is no python in the container image"),
    ],
)
def test_an_image_that_cannot_do(boxed, image, words):
    boxed.write("Snakefile", 'rule a:\n    output: "a.txt"\n    run:\n        open(output[0], "w").close()\n')

    outcome = boxed.run("--container-image", image).must_fail()

    assert words in outcome.text, outcome.text
    assert not (boxed.path / "a.txt").exists()


def test_places_that_no_workflow_may_write_to(boxed, podman):
    """What the controller sees is refused before anything is submitted; what only a node sees fails there."""
    submitted = ["/etc/x.txt", "/usr/local/share/x.txt", "/proc/x.txt", "../../../../../../../../dev/x.txt"]
    rules = "".join(
        f'rule r{i}:\n    output: "{path}"\n    shell: "echo > {{output}}"\n' for i, path in enumerate(submitted)
    )
    boxed.write("Snakefile", f"rule all:\n    input: {submitted!r}\n\n{rules}")
    refused = boxed.run("--container-image", images.GOOD).must_fail()

    for system in ("/etc", "/usr", "/proc", "/dev"):
        assert f"lies in {system}, which is the system's" in refused.text
    assert "Batch job" not in refused.text

    taken = Path("/opt/plain/python")
    boxed.write(
        "Snakefile",
        f'rule a:\n    output: "{taken}"\n    shell: "echo > {{output}}"\n',
    )
    failed = boxed.run("--container-image", images.GOOD).must_fail()

    assert f"{taken} is there already, before the command: the container image has it" in failed.text
    assert not taken.exists()


def test_ctrl_c_ends_the_containers(boxed, podman):
    boxed.write(
        "Snakefile",
        'rule all:\n    input: expand("{i}.txt", i=range(2))\n\n'
        'rule sleeper:\n    output: "{i}.txt"\n    shell: "exec sleep 600"\n',
    )
    running = subprocess.Popen(
        boxed.azurebatch("--container-image", images.GOOD),
        cwd=boxed.path,
        env=boxed.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while len(podman.tool.services_containers()) < 2:
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.2)

    os.killpg(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=120)

    assert running.returncode == 1, text
    assert "Traceback" not in text
    wait_until(lambda: not podman.tool.services_containers(), "containers are left")


def records(workdir: Workdir) -> list[protocol.CommitRecord]:
    """The commit records of all tasks that this folder has had."""
    connection = workdir.service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(connection) as client:
        container = client.get_container_client(container_name(str(workdir.path)))
        blobs = [blob.name for blob in container.list_blobs("tasks/") if blob.name.endswith("/commit.json")]
        return [protocol.CommitRecord.from_json(container.download_blob(name).readall().decode()) for name in blobs]
