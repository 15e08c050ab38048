"""The shell script of a task whose files Azure Batch moves, run by several shells in real folders."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import tarfile
from dataclasses import replace

import pytest

from snakemake_executor_azurebatch.node.protocol import DIRECTORY, FILE, Product, Shell
from snakemake_executor_azurebatch.staging.opened import Opened
from snakemake_executor_azurebatch.staging.wrapper import Arrival
from tests.unit.staging.wrapper_support import NEEDED, SHELLS, WORKDIR, Node, make_node


@pytest.fixture(params=list(SHELLS))
def node(request, tmp_path) -> Node:
    return make_node(tmp_path, request.param)


@pytest.fixture
def bare(tmp_path) -> Node:
    """An image with few programs: no bash, no tar. (A shell of busybox has them all, whatever is in PATH.)"""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(busybox)
    (folder / "sh").unlink()
    (folder / "sh").symlink_to("/bin/dash")
    return replace(make_node(tmp_path, "dash"), path=str(folder))


def products(*paths: str, **fields: object) -> list[Product]:
    return [Product(path, **fields) for path in paths]  # type: ignore[arg-type]


def tar_of(**files: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


def test_inputs_are_in_their_places_and_outputs_are_left_by_number(node):
    odd = "sub/with space, 'quote' and ünï.txt"
    node.bring(odd, b"odd\n")
    node.bring("tool", b"#!/bin/sh\necho ran", mode=0o755)
    node.bring("../beside/ref", b"above\n")
    command = (
        "cat sub/* ../beside/ref > out/a; ./tool > b; echo log > logs/l; ln -s a out/link; printf '#!/bin/sh' > x; "
        'chmod +x x; echo "$OMP_NUM_THREADS ${SMK_STAGE_READ_URL-none} $HOME" > env; [ -d "$TMPDIR" ]'
    )
    environment = {"OMP_NUM_THREADS": "2", "TMPDIR": node.work.rendered.tmpdir}
    rendered = replace(node.work.rendered, environment=environment, texts=(command,))

    code, text = node.run(
        outputs=products("out/a", "b", "out/link", "x", "env"), logs=products("logs/l"), rendered=rendered
    )

    assert (code, text) == (0, "")
    assert [node.out(str(n)) for n in range(3)] == [b"odd\nabove\n", b"ran\n", b"odd\nabove\n"]
    assert node.out("4").decode() == f"2 none {node.wd}\n"
    assert (node.wd / "smk/left/log-0").read_text() == "log\n"
    first, seconds, *rest = node.report()
    assert first == "exit 0"
    assert re.fullmatch(r"seconds \d+\.\d\d ", seconds)
    assert [line for line in rest if not line.startswith("md5 ")] == ["executable 3", "stored"]
    assert f"md5 1 {hashlib.md5(node.out('1'), usedforsecurity=False).hexdigest()}" in rest


def test_it_is_strict_where_there_is_bash(node):
    assert node.run("false | true; echo not reached")[0] == 1
    assert node.report()[0] == "exit 1"
    assert node.outs() == set()


def test_it_stops_at_the_first_error_where_there_is_none(bare):
    code, text = bare.run("false | true; echo reached; false; echo not reached")

    assert (code, text) == (1, "reached\n")


def test_the_command_arrives_byte_for_byte(node):
    command = "printf '%s\\n' 'it'\"'\"'s' \"$HOME\" \\\n  'ünï {} * ?' > o\ncat >> o <<'END'\n  tab\t$x `y` \\\nEND"

    assert node.run(command, outputs=products("o"))[0] == 0
    assert node.out("0").decode() == f"it's\n{node.wd}\nünï {{}} * ?\n  tab\t$x `y` \\\n"


@pytest.mark.parametrize(
    "home",
    [
        "/home/_azbatchtask_1",
        "/dev/null",
        "",
        pytest.param("/", marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")),
    ],
)
def test_a_home_that_is_no_folder_to_write_to_is_replaced(node, tmp_path, home):
    command = 'echo 1 > "$HOME/made"; echo "$HOME"'
    node.environment["HOME"] = home
    assert node.run(command) == (0, f"{node.wd}\n")
    node.environment["HOME"] = str(tmp_path)
    assert node.run(command) == (0, f"{tmp_path}\n")


def test_bytes_that_are_not_utf_8(node):
    assert node.run("echo \udcff > '\udcff'", outputs=products("\udcff"))[0] == 0
    assert node.out("0") == b"\xff\n"


def test_a_command_that_is_too_long_for_an_argument(node):
    assert node.run(f"echo {'x' * 200_000} | wc -c > o; cd /", outputs=products("o"))[0] == 0
    assert node.out("0").strip() == b"200001"


def test_missing_and_wrong_outputs_are_named_and_nothing_is_left(node):
    outputs = [*products("a", "b", "d"), Product("e", DIRECTORY), Product("f", optional=True)]

    assert node.run("echo a > a; mkdir d; echo > e", outputs=outputs)[0] == 92
    assert node.report()[2:] == [
        "missing 1",
        "wrong 2 a folder, but the rule declares a file",
        "wrong 3 a file, but the rule declares a folder",
    ]
    assert node.outs() == set()


def test_old_outputs_are_gone_but_for_those_that_are_updated(node):
    node.bring("db", b"given\n")
    for old in ("a", "db", "d/x", "l"):
        node.place(old).parent.mkdir(parents=True, exist_ok=True)
        node.place(old).write_text("old")

    command = "[ ! -e a ]; [ ! -e d ]; [ ! -e l ]; echo new >> db; mkdir d; echo a > a"
    outputs = [*products("a", "db"), Product("d", DIRECTORY)]

    assert node.run(command, outputs=outputs, logs=products("l")) == (0, "")
    assert node.out("1") == b"given\nnew\n"
    assert (node.wd / "smk/left/log-0").read_bytes() == b""


def test_touched_outputs_only_of_a_command_that_ended_well(node):
    outputs = products("deep/t", touch=True)

    assert node.run("exit 3", outputs=outputs)[0] == 3
    assert node.outs() == set()
    assert node.run("true", outputs=outputs)[0] == 0
    assert node.outs() == {"0"}


def test_folders_come_and_go_as_archives(node):
    node.bring("given", tar_of(a="1\n", b="2\n"), DIRECTORY)

    assert node.run("mkdir -p d/e; cp given/* d; ln -s a d/l", outputs=products("d", kind=DIRECTORY)) == (0, "")
    with tarfile.open(fileobj=io.BytesIO(node.out("0.tar"))) as tar:
        assert {name.removeprefix("./") for name in tar.getnames()} == {".", "a", "b", "e", "l"}


def test_a_folder_without_tar(bare):
    command = (
        "mkdir -p d/e d/hollow; echo 1 > d/e/1; echo hidden > d/.h; echo x > 'd/a b'; chmod +x 'd/a b'; ln -s e d/l"
    )

    assert bare.run(command, outputs=products("d", kind=DIRECTORY)) == (0, "")
    listing = bare.out("0.list").decode().splitlines()
    assert sorted(line for line in listing if line != "e") == [
        "directory e",
        "directory hollow",
        "file .h",
        "file e/1",
        "link l",
        "program a b",
    ]
    files = [line.split(" ", 1)[1] for line in listing if line.startswith(("file", "program"))]
    contents = {name: bare.out(f"0.{number}") for number, name in enumerate(files, 1)}
    assert contents == {".h": b"hidden\n", "e/1": b"1\n", "a b": b"x\n"}


def test_a_folder_that_was_taken_apart_is_put_together_with_no_more_than_a_shell(bare):
    bare.bring("given/a b", b"1\n")
    bare.bring("given/shut/tool", b"2\n", mode=0o755)
    opened = Opened(
        "given", ("hollow", "shut", "shut/deep"), (("l", "a b"), ("shut/dangling", "no'where")), (("shut", 0o555),)
    )

    command = (
        "cat given/l given/shut/tool; readlink given/shut/dangling; [ -d given/hollow ]; [ -d given/shut/deep ]; "
        "[ -x given/shut/tool ]; [ ! -x given/l ]"
    )
    code, text = bare.run(command, opened=[opened])

    assert (code, text) == (0, "1\n2\nno'where\n")
    shut = next(bare.wd.glob("tree/**/given/shut"))
    assert shut.stat().st_mode & 0o777 == 0o555
    shut.chmod(0o755)


def test_an_empty_folder_and_one_that_is_updated(bare):
    code, text = bare.run(
        "[ -d given ]; echo new > kept/x; cat kept/old", opened=[Opened("given"), Opened("kept")],
        outputs=products("kept", kind=DIRECTORY), inputs=[Arrival("smk/in/0", "kept/old", FILE)],
    )  # fmt: skip
    assert code == 91  # it was not brought
    assert "kept/old: Azure Batch has not brought it" in text
    bare.bring("kept/old", b"old\n")
    assert bare.run(
        "[ -d given ]; echo new > kept/x; cat kept/old", opened=[Opened("given"), Opened("kept")],
        outputs=products("kept", kind=DIRECTORY),
    ) == (0, "old\n")  # fmt: skip


def test_a_folder_as_input_needs_tar(bare):
    bare.bring("given", tar_of(a="1"), DIRECTORY)

    code, text = bare.run()

    assert code == 91
    assert "given is a folder of too many files to bring each, and this image has no tar to unpack it" in text
    assert bare.report()[0].startswith("error stage_in ")


@pytest.fixture
def sources() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo(WORKDIR.strip("/") + "/scripts/tool.sh")
        info.size, info.mode = 20, 0o755
        tar.addfile(info, io.BytesIO(b"#!/bin/sh\necho tool\n"))
    return stream.getvalue()


def test_sources_are_there(node, sources):
    node.arrivals["smk/sources"] = sources

    assert node.run("scripts/tool.sh", sources="smk/sources") == (0, "tool\n")


def test_sources_are_not_there_where_the_image_cannot_unpack_them(bare, sources):
    bare.arrivals["smk/sources"] = sources

    code, text = bare.run("echo on", sources="smk/sources")

    assert (code, text) == (0, "on\n[stage] the workflow's sources are not here: this image has no tar\n")


def test_it_starts_in_its_folder_and_at_the_controllers_path_where_that_is_free(node, tmp_path):
    there = tmp_path / "controller/project"

    code, text = node.run(f"pwd; cd {there}/sub; echo 1 > o", folder="sub", workdir=str(there), same_path=True)

    assert (code, text) == (0, f"{there}/sub\n")
    assert (node.wd / "tree" / str(there).strip("/") / "sub/o").read_text() == "1\n"


def test_it_starts_beside_its_workdir(node):
    assert node.run("pwd; echo 1 > o", folder="../beside", outputs=products("../beside/o")) == (
        0,
        f"{node.wd}/tree/home/someone/beside\n",
    )
    assert node.out("0") == b"1\n"


def test_absolute_outputs(node, tmp_path):
    there, beside = tmp_path / "controller/project", tmp_path / "beside"
    outputs = products(str(there / "sub/o"), str(beside / "o"))

    code, text = node.run(
        f"echo 1 > {there}/sub/o; echo 2 > {beside}/o", workdir=str(there), same_path=True, outputs=outputs
    )

    assert (code, text) == (0, "")
    assert (node.out("0"), node.out("1")) == (b"1\n", b"2\n")


@pytest.mark.parametrize("taken", ["project", "beside/o"])
def test_absolute_outputs_whose_place_is_taken(node, tmp_path, taken):
    there, beside = tmp_path / "project", tmp_path / "beside"
    (tmp_path / taken).mkdir(parents=True)

    code, text = node.run(workdir=str(there), same_path=True, outputs=products(str(there / "o"), str(beside / "o")))

    assert code == 94
    assert text == (
        f"[stage] {there}/o is an absolute path, and the task cannot run at the controller's own path, {there}\n"
        if taken == "project"
        else f"[stage] {beside}/o is there already, before the command: the container image has it\n"
    )


def test_a_tmpdir_of_the_workflow(node):
    rendered = replace(node.work.rendered, tmpdir="own tmp")

    assert node.run("test -d 'own tmp'", rendered=rendered, folder="sub") == (0, "")


def test_a_path_that_is_taken_stays_as_it_is(node, tmp_path):
    there = tmp_path / "taken"
    there.mkdir()

    code, text = node.run("pwd; echo 1 > o", workdir=str(there), same_path=True)

    assert (code, text) == (0, f"{node.wd}/tree{there}\n")
    assert list(there.iterdir()) == []


@pytest.mark.parametrize(("there", "code"), [(None, 0), (b"given", 0), (b"other", 91)])
def test_absolute_inputs(node, tmp_path, there, code):
    absolute = tmp_path / "refs/genome"
    if there is not None:
        absolute.parent.mkdir()
        absolute.write_bytes(there)
    node.bring(str(absolute), b"given")

    assert node.run(f"cat {absolute}") == (
        (0, "given") if code == 0 else (91, f"[stage] {absolute} is there already on the node, with another content\n")
    )


def test_an_input_that_was_not_brought(node):
    node.bring("in", b"")
    node.arrivals.clear()

    assert node.run() == (91, f"[stage] {WORKDIR}/in: Azure Batch has not brought it\n")


def test_no_shell_that_it_needs(node):
    rendered = replace(node.work.rendered, shells=(Shell("/opt/none/zzsh", ["-c"]),))

    assert node.run(rendered=rendered) == (94, "[stage] not in the image: /opt/none/zzsh\n")
    assert node.report() == ["error setup not in the image: /opt/none/zzsh"]


@pytest.mark.parametrize("name", ["b.tsv", "b.jsonl"])
def test_every_repetition_is_measured(node, name):
    rendered = replace(node.work.rendered, texts=("echo 0 >> o", "echo 1 >> o"))

    assert node.run(rendered=rendered, outputs=products("o", name), benchmark=name) == (0, "")
    assert node.out("0") == b"0\n1\n"
    lines = node.out("1").decode().splitlines()
    if name == "b.tsv":
        rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    else:
        rows = [json.loads(line) for line in lines]
    assert [row["max_rss"] for row in rows] == ["NA", "NA"]
    assert all(re.fullmatch(r"\d+\.\d+", str(row["s"])) and row["h:m:s"].startswith("0:") for row in rows)


def test_it_stops_after_the_first_repetition_that_fails(node):
    rendered = replace(node.work.rendered, texts=("exit 4", "echo not reached"))

    assert node.run(rendered=rendered) == (4, "")


def test_told_to_stop_it_stops_the_command_and_leaves_the_logs(node, tmp_path):
    started = tmp_path / "started"
    os.mkfifo(started)
    process = node.start(f"echo log > l; echo > {started}; exec sleep 600", logs=products("l"))
    started.read_text()

    process.send_signal(signal.SIGTERM)
    process.communicate()

    assert process.returncode == 143
    assert (node.wd / "smk/left/log-0").read_text() == "log\n"
    assert node.report()[-1] == "error stopped told to stop"
