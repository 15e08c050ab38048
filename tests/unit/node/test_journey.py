"""Whole tasks: the built stager in a process of its own, against a real Azurite."""

from __future__ import annotations

import io
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Command, Manifest, Product

from .harness import DESTINATION, WORKDIR, Site, products

ODD_NAMES = (
    "with space.txt",
    "unicode-é-漢字-😀.txt",
    'quote\'s "and" backslash\\.txt',
    "hash#question?percent%20plus+amp&.txt",
    "-leading-dash",
    "deep/er/dots..txt",
    "new\nline",
    "trailing.",
)


def test_a_task_runs_on_every_promised_python(site: Site, python: str) -> None:
    site.python = python
    result = site.run(
        "cat in/a.txt in/sub/*.txt > out/joined.txt; mkdir tree; ln -s x tree/link; mkdir tree/empty; echo told",
        inputs=[site.file("in/a.txt", b"A\n"), site.folder("in/sub", {"b.txt": b"B\n", "none": None})],
        outputs=[*products("out/joined.txt"), *products("tree", kind=protocol.DIRECTORY)],
        sources=site.sources({"home/someone/my project/Snakefile": b"rule a:\n"}),
    )
    assert (result.exit_code, result.stdout) == (0, "told\n"), result.stderr
    assert site.outputs()["out/joined.txt"] == b"A\nB\n"
    record = site.record()
    assert (record.phase, record.exit_code, record.error_class, record.streams) == ("done", 0, None, [])
    assert set(record.timings_s) == {"setup", "stage_in", "command", "stage_out"}
    assert record.peak_memory_bytes is not None
    assert record.peak_memory_bytes > 100_000


def test_every_promised_python_does_without_bash(site: Site, python: str) -> None:
    site.python = python
    tools = site.task_dir / "bin"
    tools.mkdir()
    for name in ("sh", "cat"):
        (tools / name).symlink_to(f"/bin/{name}")
    site.extra_environment = {"PATH": str(tools)}
    result = site.run(
        'cat in > out; echo "${BASH_VERSION:-none}"', inputs=[site.file("in", b"1")], outputs=products("out")
    )
    assert (result.exit_code, result.stdout) == (0, "none\n"), result.stderr
    assert site.outputs() == {"out": b"1"}


@pytest.mark.parametrize("folders", [("",), ("", "deep/")], ids=["single", "in a pack"])
def test_odd_names_come_through_unchanged(site: Site, folders: tuple[str, ...]) -> None:
    site.extra_environment = {"LC_ALL": "C"}
    inputs = [site.file(f"in/{name}", name.encode()) for name in ODD_NAMES]
    outputs = [f"out/{more}{name}" for name in ODD_NAMES for more in folders]
    result = site.run("cp -r in/. out/; cp -r in/. out/deep/", inputs=inputs, outputs=products(*outputs))
    assert result.exit_code == 0, result.stderr
    assert site.outputs() == {f"out/{more}{name}": name.encode() for name in ODD_NAMES for more in folders}
    assert (f"{DESTINATION}/outputs/out/with space.txt" in site.names()) == (len(folders) == 1)


def test_inputs_have_their_mode_and_one_time_that_outputs_do_not_precede(site: Site) -> None:
    tool = site.file("tool.sh", b"#!/bin/sh\nstat -c '%a %Y' tool.sh data.txt d/f > out.txt\n", 0o755)
    inputs = [tool, site.file("data.txt", b"x", 0o444), site.folder("d", {"f": b"1"})]
    result = site.run("./tool.sh; test ! out.txt -ot data.txt", inputs=inputs, outputs=products("out.txt"))
    assert result.exit_code == 0, result.stderr
    modes, times = zip(*(line.split() for line in site.outputs()["out.txt"].decode().splitlines()), strict=True)
    assert modes == ("755", "444", "640")
    assert len(set(times)) == 1


def test_folders_keep_links_modes_and_empty_folders_both_ways(site: Site) -> None:
    content = {"bin": None, "bin/run": b"#!/bin/sh\n", "empty": None, "link": "bin/run", "out": "../elsewhere"}
    result = site.run(
        "cp -a d copy", inputs=[site.folder("d", content)], outputs=products("copy", kind=protocol.DIRECTORY)
    )
    assert result.exit_code == 0, result.stderr
    with tarfile.open(fileobj=io.BytesIO(site.outputs()["copy"])) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["bin", "empty", "link", "out", "bin/run"]
    assert (members["bin"].mode, members["bin/run"].mode, members["empty"].isdir()) == (0o750, 0o755, True)
    assert (members["link"].linkname, members["out"].linkname) == ("bin/run", "../elsewhere")
    assert {(member.uid, member.uname, member.mtime) for member in members.values()} == {(0, "", 0)}


def test_parent_paths_stay_inside_of_the_tree(site: Site) -> None:
    result = site.run(
        "pwd; cat ../shared/x > ../other/y; cat ../lib.smk >> ../other/y",
        inputs=[site.file("../shared/x", b"1")],
        sources=site.sources({"home/someone/lib.smk": b"2"}),
        outputs=products("../other/y"),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{site.wd}/tree{WORKDIR}\n"
    assert site.outputs() == {"../other/y": b"12"}


def test_a_path_above_the_root_is_refused(site: Site) -> None:
    result = site.run(inputs=[site.file("../../../../x", b"1")])
    assert result.exit_code == protocol.EXIT_STAGE_IN
    assert "above the root" in (site.record().error_message or "")


def test_what_the_command_sees(site: Site) -> None:
    script = 'env -0 | tr "\\n\\0" "|\\n"; cat "$SMK_STAGE_PINS"'
    command = Command("snakemake", script, [{"rule": "a"}], "9.27.1")
    result = site.run(command=command, environment={"MINE": "tréma ' \" $x"})
    lines = result.stdout.splitlines()
    seen = dict(line.split("=", 1) for line in lines[:-1])
    assert seen["MINE"] == "tréma ' \" $x"
    assert seen[protocol.ENV_SNAKEMAKE] == "9.27.1"
    assert seen[protocol.ENV_STAGER] == str(site.stager)
    assert Path(seen[protocol.ENV_PYTHON]).exists()
    assert all(seen[name] for name in ("HOME", "USER", "LOGNAME"))
    assert lines[-1] == '[{"rule": "a"}]'
    assert not {protocol.ENV_READ_URL, protocol.ENV_WRITE_URL, protocol.ENV_MANIFEST} & set(seen)
    assert "sig=" not in result.stdout + result.stderr


def test_a_missing_output_is_named_and_nothing_is_stored(site: Site) -> None:
    outputs = [*products("a", "b/c", "d"), *products("e", optional=True), *products("f", kind=protocol.DIRECTORY)]
    result = site.run("touch a f; mkdir d", outputs=outputs)
    record = site.record()
    assert result.exit_code == protocol.EXIT_MISSING_OUTPUT
    assert (record.error_class, record.exit_code) == (protocol.ERROR_MISSING_OUTPUT, 0)
    assert record.missing == ["b/c", "d", "f"]
    assert record.error_message == (
        "b/c was not made; d is a directory, but was declared as a file; f is a file, but was declared as a directory"
    )
    assert record.outputs == []
    assert not any("/outputs" in name for name in site.names())


def test_a_failing_command_keeps_logs_and_streams_but_no_outputs(site: Site) -> None:
    script = "echo note > logs/a.log; echo out; echo err >&2; touch made; exit 7"
    result = site.run(script, outputs=products("made"), logs=products("logs/a.log", "logs/never.log", optional=True))
    record = site.record()
    assert result.exit_code == 7
    assert (record.phase, record.exit_code, record.error_class) == ("stage_out", 7, protocol.ERROR_COMMAND)
    assert [(log.path, site.blob(log.blob)) for log in record.logs] == [("logs/a.log", b"note\n")]
    assert {stream.path for stream in record.streams} == {"stdout.txt", "stderr.txt"}
    assert site.blob(f"{DESTINATION}/streams/stdout.txt") == b"out\n"
    assert b"err\n" in site.blob(f"{DESTINATION}/streams/stderr.txt")
    assert record.outputs == []


def test_a_command_that_dies_by_a_signal(site: Site) -> None:
    assert site.run("kill -SEGV $$").exit_code == 128 + 11
    assert site.record().exit_code == 128 + 11


def test_a_failed_task_leaves_its_tree_and_a_good_one_does_not(site: Site) -> None:
    site.run("exit 1")
    assert (site.wd / "tree").is_dir()
    site.run('test -z "$(ls)"; mkdir d; touch d/f; chmod 500 d')
    assert not (site.wd / "tree").exists()


@pytest.mark.parametrize(("keep", "stays"), [(protocol.KEEP_ALL, True), (protocol.KEEP_NONE, False)])
@pytest.mark.parametrize("code", [0, 1])
def test_all_trees_stay_or_none_where_that_is_wanted(site: Site, keep: str, stays: bool, code: int) -> None:
    assert site.run(f"exit {code}", keep_files=keep).exit_code == code
    assert (site.wd / "tree").exists() == stays


def test_the_smallest_products_are_in_the_record_as_well(site: Site) -> None:
    names = ("a", "empty", "large", "b")
    result = site.run(
        "printf A >a; : >empty; head -c 4096 /dev/zero >large; printf B >b; mkdir d; echo told >log",
        outputs=[*products(*names), *products("d", kind=protocol.DIRECTORY)],
        logs=products("log"),
    )
    assert result.exit_code == 0, result.stderr
    record = site.record()
    assert {one.path: one.content for one in (*record.outputs, *record.logs)} == {
        "a": "QQ==",
        "empty": "",
        "large": None,
        "b": "Qg==",
        "d": None,  # no room for all of "large" after "a"
        "log": "dG9sZAo=",
    }
    assert set(site.outputs()) == {*names, "d"}  # their blobs are there, too


def test_wrong_content_is_refused(site: Site) -> None:
    good = site.file("a", b"content")
    site.upload(good.blob, b"changed")
    result = site.run("touch ran", inputs=[good])
    record = site.record()
    assert result.exit_code == protocol.EXIT_STAGE_IN
    assert (record.phase, record.error_class, record.exit_code) == ("stage_in", protocol.ERROR_STAGE_IN, None)
    assert (record.error_message or "").startswith("a: blob inputs/a has MD5 ")
    site.upload(good.blob, b"longer than before")
    site.run(inputs=[good])
    assert site.record().error_message == "a: blob inputs/a has 18 bytes, not 7"


@pytest.mark.parametrize("count", [1, 5])
def test_a_missing_blob_is_named(site: Site, count: int) -> None:
    inputs = [site.file(f"f{number}", b"x") for number in range(count)]
    site.client.delete_blob(inputs[-1].blob)
    assert site.run(inputs=inputs).exit_code == protocol.EXIT_STAGE_IN
    assert f"{inputs[-1].blob}: BlobNotFound (HTTP 404)" in (site.record().error_message or "")


def test_a_manifest_in_the_environment_needs_no_blob_and_marks_what_the_task_leaves(site: Site) -> None:
    site.tells_by_variable = True
    result = site.run(
        "env; echo 1 > out; mkdir d",
        outputs=[*products("out"), *products("d", kind=protocol.DIRECTORY)],
        marks={"smk_workdir": "me"},
        environment={"NAME": "\udc80é"},
    )
    assert result.exit_code == 0, result.stderr
    assert "SMK_STAGE_MANIFEST" not in result.stdout
    blobs = {blob.name: blob.metadata for blob in site.client.list_blobs(DESTINATION, include=["metadata"])}
    assert set(blobs) == {f"{DESTINATION}/{name}" for name in ("outputs/out", "outputs.folders/d.tar", "commit.json")}
    assert all(metadata == {"smk_workdir": "me"} for metadata in blobs.values())


def test_blobs_of_blocks_are_marked_too(site: Site) -> None:
    result = site.run("head -c 9000000 /dev/zero > out", outputs=products("out"), marks={"smk_workdir": "me"})
    assert result.exit_code == 0, result.stderr
    found = site.client.get_blob_client(f"{DESTINATION}/outputs/out").get_blob_properties()
    assert found.metadata == {"smk_workdir": "me"}


@pytest.mark.parametrize("value", ["%%%", "e30", "e30="])
def test_a_variable_that_is_no_manifest_leaves_a_record(site: Site, value: str) -> None:
    site.extra_environment = {protocol.ENV_MANIFEST_TEXT: value}
    result = site.finish(site.start(None))
    assert result.exit_code == protocol.EXIT_SETUP
    assert "manifest" in (site.record().error_message or "")


def test_a_manifest_that_cannot_be_read_leaves_a_record(site: Site) -> None:
    site.upload(protocol.manifest_blob(DESTINATION), b'{"version": 99}')
    result = site.finish(site.start(None))
    record = site.record()
    assert result.exit_code == protocol.EXIT_SETUP
    assert (record.task_id, record.phase, record.error_class) == ("t1", "setup", protocol.ERROR_SETUP)
    assert record.error_message == "this stager reads manifest version 1"


def test_a_bug_of_ours_leaves_a_record_and_a_traceback(site: Site) -> None:
    manifest = Manifest("t1", WORKDIR, DESTINATION, Command("shell", "true"), directories=[7])  # type: ignore[list-item]
    result = site.finish(site.start(manifest))
    assert result.exit_code == protocol.EXIT_SETUP
    assert (site.record().error_message or "").startswith("bug in the stager: TypeError")
    assert "Traceback" in result.stderr
    assert "sig=" not in result.stderr


def test_absolute_inputs_are_placed_or_used_where_they_are(site: Site, tmp_path: Path) -> None:
    there, absent = tmp_path / "there" / "a", tmp_path / "absent" / "b"
    there.parent.mkdir()
    there.write_bytes(b"A")
    inode = there.stat().st_ino
    inputs = [site.file(str(there), b"A"), site.file(str(absent), b"B", 0o444)]
    result = site.run(f"cat {there} {absent} > out", inputs=inputs, outputs=products("out"))
    assert result.exit_code == 0, result.stderr
    assert site.outputs() == {"out": b"AB"}
    assert (there.stat().st_ino, absent.stat().st_mode & 0o777) == (inode, 0o444)


def test_an_absolute_input_never_replaces_another_file(site: Site, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"mine")
    result = site.run(inputs=[site.file(str(there), b"A")])
    assert result.exit_code == protocol.EXIT_STAGE_IN
    assert site.record().error_message == f"{there} is there already on the node, with another content"
    assert there.read_bytes() == b"mine"


def test_an_absolute_folder_is_compared_where_it_is_there(site: Site, tmp_path: Path) -> None:
    there = tmp_path / "db"
    there.mkdir()
    (there / "x").write_bytes(b"1")
    (there / "y").symlink_to("x")
    folder = site.folder(str(there), {"x": b"1", "y": "x"})
    assert site.run(inputs=[folder]).exit_code == 0
    (there / "x").write_bytes(b"2")
    assert site.run(inputs=[folder]).exit_code == protocol.EXIT_STAGE_IN
    assert f"{there}/x is there already and differs" in (site.record().error_message or "")


def test_at_the_same_path_everything_is_where_the_controller_has_it(site: Site, tmp_path: Path) -> None:
    workdir = tmp_path / "new" / "project"
    result = site.run(
        f"pwd; cat data/x {workdir}/data/x ../rules/r.smk > {workdir}/out.txt",
        workdir=str(workdir),
        same_path=True,
        sources=site.sources({f"{str(tmp_path).lstrip('/')}/new/rules/r.smk": b"R"}),
        inputs=[site.file("data/x", b"x")],
        outputs=products(f"{workdir}/out.txt"),
    )
    assert (result.exit_code, result.stdout) == (0, f"{workdir}\n"), result.stderr
    assert site.outputs() == {f"{workdir}/out.txt": b"xxR"}
    assert not workdir.parent.exists()


def test_at_the_same_path_only_what_was_made_is_removed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "old.smk").write_bytes(b"1")
    lib = f"{str(tmp_path).lstrip('/')}/lib"
    result = site.run(
        "cat ../lib/*.smk ../data",
        workdir=str(tmp_path / "project"),
        same_path=True,
        sources=site.sources({f"{lib}/old.smk": b"1", f"{lib}/new.smk": b"2", f"{lib}/link": "old.smk"}),
        inputs=[site.file(str(tmp_path / "data"), b"3")],
    )
    assert (result.exit_code, result.stdout) == (0, "213"), result.stderr
    assert {path.name for path in tmp_path.rglob("*")} == {"t1", "wd", "stdout.txt", "stderr.txt", "lib", "old.smk"} | {
        "pins.json",
        "script.sh",
    }


def test_a_folder_that_was_there_is_never_run_in(site: Site, tmp_path: Path) -> None:
    workdir = tmp_path / "mine"
    workdir.mkdir()
    result = site.run("pwd; touch out", workdir=str(workdir), same_path=True, outputs=products("out"))
    assert (result.exit_code, result.stdout) == (0, f"{site.wd}/tree{workdir}\n"), result.stderr
    assert list(workdir.iterdir()) == []


def test_sources_never_replace_a_file_at_the_same_path(site: Site, tmp_path: Path) -> None:
    (tmp_path / "lib.smk").write_bytes(b"mine")
    member = f"{str(tmp_path).lstrip('/')}/lib.smk"
    result = site.run(workdir=str(tmp_path / "project"), same_path=True, sources=site.sources({member: b"other"}))
    assert result.exit_code == protocol.EXIT_STAGE_IN
    assert "is there already and differs" in (site.record().error_message or "")
    assert (tmp_path / "lib.smk").read_bytes() == b"mine"
    assert not (tmp_path / "project").exists()


def test_an_expired_sas_is_told_on_stderr(site: Site) -> None:
    site.extra_environment = {
        protocol.ENV_READ_URL: site.url("r", -timedelta(hours=1)),
        protocol.ENV_WRITE_URL: site.url("cw", -timedelta(hours=1)),
    }
    result = site.run()
    assert result.exit_code == protocol.EXIT_SETUP
    assert "(HTTP 403); the SAS may have expired or been revoked" in result.stderr
    assert "no commit record" in result.stderr
    assert "sig=" not in result.stderr
    assert protocol.record_blob(DESTINATION) not in site.names()


def test_an_environment_without_urls_is_told(site: Site) -> None:
    site.extra_environment = {protocol.ENV_READ_URL: ""}
    result = site.run()
    assert result.exit_code == protocol.EXIT_SETUP
    assert protocol.ENV_READ_URL in result.stderr


def test_products_of_every_kind_share_no_blob(site: Site) -> None:
    outputs = [Product("d", protocol.DIRECTORY), *products("d.tar", "..%2Fx", "../x", "a" * 200 + "/" + "é" * 120)]
    names = " ".join(f"'{product.path}'" for product in outputs[1:])
    result = site.run(f"mkdir d; for f in {names}; do echo $f > $f; done", outputs=outputs)
    assert result.exit_code == 0, result.stderr
    assert len({stored.blob for stored in site.record().outputs}) == len(outputs) == len(site.outputs())
