"""Rules in images that have no Python: Azure Batch itself moves their files. Real containers, through the executor."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.agent.engine import COMMAND_VARIABLE
from snakemake_executor_azurebatch.staging.opened import MOST_FILES
from tests.contract.container_support import unmount_below
from tests.workflow import container_support as images
from tests.workflow.conftest import Workdir
from tests.workflow.container_support import Podman, make_podman
from tests.workflow.test_all_features import snapshot

#: Has what busybox can do; only a POSIX shell and a few programs.
PLAIN, BARE = "localhost/azurebatch-plain:1", "localhost/azurebatch-few:1"
FEW = ("sh", "cp", "cat", "chmod", "mkdir", "mv", "rm", "rmdir", "id", "ls", "wc", "sort", "echo", "ln", "readlink")
FEW += ("touch",)
MORE = ("tar", "gzip", "md5sum", "rev", "find", "tr")


@pytest.fixture(scope="module")
def podman(tmp_path_factory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    try:
        found = make_podman(folder)
        if isinstance(found, str):
            pytest.skip(found)
        for image, name, programs in ((PLAIN, "plain", FEW + MORE), (BARE, "bare", FEW)):
            archive = root_file_system(folder / name, programs)
            found.tool("import", "--change", "ENV PATH=/opt/few", str(archive), image)
        yield found
    finally:
        unmount_below(folder)


def root_file_system(root: Path, programs: tuple[str, ...]) -> Path:
    """An archive with some programs of busybox.

    Its shell is this machine's, whose folders are mounted: that of busybox finds all programs inside of itself.
    """
    few = root / "opt/few"
    for folder in (few, root / "etc", root / "tmp"):
        folder.mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for name in images.PROGRAMS:
        if (link := Path("/", name)).is_symlink():
            (root / name).symlink_to(link.readlink())
    shutil.copy(shutil.which("busybox"), few / "busybox")
    for name in programs:
        (few / name).symlink_to("/bin/sh" if name == "sh" else "busybox")
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    return archive


@pytest.fixture(scope="module")
def container_service(podman, tmp_path_factory) -> Iterator[emulator.RunningService]:
    options = emulator.StartOptions(container_runtime="podman")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMMAND_VARIABLE, " ".join(podman.command))
        for name, value in podman.tool.environment.items():
            patch.setenv(name, value)
        with emulator.start(
            tmp_path_factory.mktemp("service"), lifeline=True, progress=print, options=options
        ) as started:
            yield started.service


@pytest.fixture
def boxed(tmp_path, container_service) -> Workdir:
    folder = tmp_path / "work"
    folder.mkdir()
    return Workdir(folder, container_service)


ONE_AFTER_THE_OTHER = f"""
import os

rule all:
    input: "listing.txt", "counted.txt", "few", "beside/measured.txt", "python.txt"

rule first:
    output: "first.txt", directory("tree")
    shell: "echo first > {{output[0]}}; mkdir -p tree/a/empty; echo 1 > 'tree/a/ü 1'; ln -s 'a/ü 1' tree/l"

rule plain:
    input: "first.txt", "tree", odd="in/it's odd.txt", above="../above.txt", tool="tool.sh"
    output:
        "listing.txt",
        touch("touched"),
        temp("gone.txt"),
        directory("made"),
        tool="made.sh",
        link="link.txt",
        computed=os.path.abspath("computed.txt"),
    log: "logs/plain.log"
    container: "docker://{PLAIN}"
    threads: 2
    shell:
        '''
        cat {{input[0]}} {{input.odd:q}} {{input.above}} tree/l 'tree/a/ü 1' > {{output[0]}}
        ./tool.sh >> {{output[0]}}; scripts/helper.sh >> {{output[0]}}; ls tree/a/empty >> {{output[0]}}
        echo "$OMP_NUM_THREADS {{resources.tmpdir}} ${{{{SMK_STAGE_READ_URL-none}}}}" >> {{output[0]}}
        echo gone > {{output[2]}}; mkdir -p made/hollow; cp 'tree/a/ü 1' made; ln -s x made/dangling; echo .h > made/.h
        echo '#!/bin/sh' > {{output.tool}}; chmod +x {{output.tool}}; ln -s {{output[0]}} {{output.link}}
        echo {{output.computed}} > {{output.computed}}; echo logged > {{log}}
        '''

rule many:
    input: [f"many/{{i}}.txt" for i in range(110)], "gone.txt", "made"
    output: "counted.txt"
    resources: azurebatch_image="{PLAIN}"
    shell: "cat {{input[0]}} {{input[109]}} {{input[110]}} made/.h > {{output}}; ls many | wc -l >> {{output}}"

rule few:
    input: "first.txt", "tree", "given"
    output: directory("few"), "in-tree.txt"
    container: "docker://{BARE}"
    shell:
        "cat tree/l given/0.txt given/119.txt > {{output[1]}}; readlink tree/l >> {{output[1]}}; "
        "ls tree/a/empty given/hollow >> {{output[1]}}; "
        "mkdir -p few/deep/hollow; cat {{input[0]}} > 'few/deep/a b'; chmod +x 'few/deep/a b'; ln -s deep few/link"

rule measured:
    input: "listing.txt"
    output: "beside/measured.txt"
    benchmark: repeat("bench/m.tsv", 2)
    container: "docker://{BARE}"
    shell: "echo {{bench_iteration}} >> {{output}}"

rule python:
    input: "few", "counted.txt", os.path.abspath("computed.txt")
    output: "python.txt"
    run:
        with open(output[0], "w") as target:
            target.write(open("few/deep/a b").read() + open(input[1]).read() + open(input[2]).read())
"""


def test_rules_in_images_without_python_beside_others(boxed):
    for i in range(110):
        boxed.write(f"many/{i}.txt", f"{i}\n")
    for i in range(120):  # more than have a resource file each
        boxed.write(f"given/{i}.txt", f"{i}\n")
    (boxed.path / "given/hollow").mkdir()
    boxed.write("in/it's odd.txt", "odd\n")
    boxed.write("../above.txt", "above\n")
    boxed.write("tool.sh", "#!/bin/sh\necho tool\n").chmod(0o755)
    boxed.write("scripts/helper.sh", "#!/bin/sh\necho helper\n").chmod(0o755)
    boxed.write("Snakefile", ONE_AFTER_THE_OTHER)
    boxed.environment["TMPDIR"] = "/tmp"
    boxed.run_locally().must_succeed()
    locally = snapshot(boxed.path)
    for path in boxed.path.iterdir():
        if path.name not in ("many", "given", "in", "tool.sh", "scripts", "Snakefile"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    arguments = ("--container-image", images.GOOD, "--azurebatch-rule-containers")
    boxed.run(*arguments, "--azurebatch-extra-files", "scripts").must_succeed()

    made = snapshot(boxed.path)
    assert made.pop("link.txt") == made["listing.txt"]  # what a link leads to comes back, as in the image of the run
    del locally["link.txt"]
    assert made == locally
    assert f"{boxed.path}/computed.txt" in boxed.read("computed.txt")
    assert [line.split("\t")[2] for line in boxed.read("bench/m.tsv").splitlines()] == ["max_rss", "NA", "NA"]
    boxed.nothing_to_do()
    moved = {blob.split("/")[1].split("-")[0] for blob in boxed.blobs("tasks/") if blob.endswith("/batch/run.sh")}
    assert moved == {"plain", "many", "few", "measured"}


FAILING = f"""
rule all:
    input: "exit", "none", "unpacked", "missing", "zsh"

rule exit:
    output: "exit"
    log: "exit.log"
    container: "docker://{PLAIN}"
    shell: "echo logged > {{log}}; echo said >&2; touch exit; exit 7"

rule none:
    output: "none", "other"
    container: "docker://{PLAIN}"
    shell: "touch other"

rule unpacked:
    input: "given"
    output: "unpacked"
    container: "docker://{BARE}"
    shell: "ls {{input}} > {{output}}"

rule missing:
    output: "missing"
    container: "docker://localhost/no-such-image:1"
    shell: "touch {{output}}"

rule zsh:
    output: "zsh"
    container: "docker://{PLAIN}"
    resources: shell_exec="/opt/none/zzsh"
    shell: "touch {{output}}"
"""


def test_every_failure_says_what_it_was(boxed):
    for number in range(MOST_FILES + 1):
        boxed.write(f"given/{number}", "")
    boxed.write("Snakefile", FAILING)

    arguments = ("--container-image", images.GOOD, "--azurebatch-rule-containers", "--keep-going")
    arguments += ("--azurebatch-no-prefetch",)  # one of the images is missing, and a node without it would not be used
    text = boxed.run(*arguments).must_fail().text

    for words in (
        "the command failed, exit code 7",
        "  | said\n",
        "declared output is missing",
        "  none\n",
        "its inputs could not be brought to the node",
        "/work/given is a folder of too many files to bring each, and this image has no tar to unpack it",
        "\n  ContainerInvalid",
        "not in the image: /opt/none/zzsh",
    ):
        assert words in text, text
    assert boxed.read("exit.log") == "logged\n"
    assert not any((boxed.path / name).exists() for name in ("exit", "none", "other", "unpacked", "missing", "zsh"))
