"""What a task left whose files Azure Batch has moved."""

import hashlib
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, Product
from snakemake_executor_azurebatch.run.judge import Cause, Sighting, judge
from snakemake_executor_azurebatch.staging.left import Report, read_left, read_report, record_of

OUTPUTS = [Product("a"), Product("tool"), Product("d", DIRECTORY), Product("t", optional=True)]
LOGS = [Product("logs/l", optional=True), Product("logs/none", optional=True)]


def test_a_report_is_read_line_by_line():
    report = read_report(
        "exit 0\nseconds 1.50 2.00 \nexecutable 1\nmd5 1 abc\nmd5 2.tar def\nmissing 3\nwrong 4 a file, but\nstored\n"
    )

    assert report == Report(
        exit_code=0,
        is_stored=True,
        missing=[3],
        wrong={4: "a file, but"},
        executable={1},
        md5={"1": "abc", "2.tar": "def"},
        wall_s=3.5,
    )


@pytest.mark.parametrize("text", ["", "exit", "exit x", "seconds 1.", "missing", "from the future", "\ufffd"])
def test_half_a_line_is_passed_over(text):
    assert read_report(text + "\n") in (Report(), Report(wall_s=1.0))


def test_the_first_error_counts():
    assert read_report("error stage_in one\nerror command two\n").error == ("stage_in", "one")


@pytest.mark.parametrize(
    ("text", "error_class", "cause", "message"),
    [
        ("exit 3\n", protocol.ERROR_COMMAND, Cause.COMMAND, "the command exited with 3"),
        ("error stage_in no tar\n", protocol.ERROR_STAGE_IN, Cause.STAGE_IN, "no tar"),
        ("error setup no zsh\n", protocol.ERROR_SETUP, Cause.SETUP, "no zsh"),
        ("exit 0\nerror stage_out x\n", protocol.ERROR_STAGE_OUT, Cause.STAGE_OUT, "x"),
        (
            "exit 0\nmissing 0\nwrong 2 a file, but the rule declares a folder\n",
            protocol.ERROR_MISSING_OUTPUT,
            Cause.MISSING_OUTPUT,
            "a is missing; d is a file, but the rule declares a folder",
        ),
        ("exit 0\n", protocol.ERROR_STAGE_OUT, Cause.STAGE_OUT, "Azure Batch has not stored all outputs"),
        ("exit 0\nstored\n", protocol.ERROR_STAGE_OUT, Cause.STAGE_OUT, "Azure Batch has not stored all outputs: a"),
    ],
)
def test_every_end_has_its_class(text, error_class, cause, message):
    record = record_of("t", read_report(text), OUTPUTS, [], ([], []))

    assert (record.error_class, str(record.error_message).partition(", tool")[0]) == (error_class, message)
    failure = judge(Sighting("t", 1), record)
    assert failure is not None
    assert failure.cause is cause


def test_a_task_that_was_told_to_stop():
    record = record_of("t", read_report("exit 143\nseconds 12.00\nerror stopped told to stop\n"), [], [], ([], []))

    assert (record.error_class, record.reason, record.exit_code) == ("command", "stopped", 143)
    assert record.error_message == "told to stop"


def test_without_a_report_there_is_no_record(store):
    assert read_left(store, "tasks/t", OUTPUTS, LOGS) is None


def put(store, **blobs: bytes) -> None:
    for name, data in blobs.items():
        store.upload_bytes("tasks/t/" + name.replace("__", "/"), data)


def test_what_is_there_becomes_the_record(store):
    put(
        store,
        batch__left__report=b"exit 0\nseconds 0.25 \nexecutable 1\nstored\n",
        streams__none=b"",
        batch__out__0=b"A",
        batch__out__1=b"#!",
    )
    store.upload_bytes("tasks/t/batch/out/2.tar", b"tar")
    store.upload_bytes("tasks/t/batch/left/log-0", b"log")

    record = read_left(store, "tasks/t", OUTPUTS, LOGS)

    assert record is not None
    assert judge(Sighting("t", 0), record) is None
    assert [(one.path, one.size_bytes, one.mode, one.kind) for one in record.outputs] == [
        ("a", 1, 0o644, "file"),
        ("tool", 2, 0o755, "file"),
        ("d", 3, 0o755, DIRECTORY),
    ]
    assert record.outputs[0].md5 == hashlib.md5(b"A", usedforsecurity=False).hexdigest()
    assert [(one.path, one.size_bytes) for one in record.logs] == [("logs/l", 3)]
    assert record.timings_s == {"command": 0.25}


def test_other_bytes_than_the_command_left(store):
    put(store, batch__left__report=b"exit 0\nmd5 0 " + b"0" * 32 + b"\nstored\n", batch__out__0=b"A")

    with pytest.raises(StagingError, match="a: Azure Batch has stored other bytes"):
        read_left(store, "tasks/t", OUTPUTS, LOGS)


def folder_record(store, listing: str, **files: bytes):
    put(store, batch__left__report=b"exit 0\nstored\n")
    for name, data in {".list": listing.encode(), **files}.items():
        store.upload_bytes(f"tasks/t/batch/out/0{name.replace('_', '.')}", data)
    return read_left(store, "tasks/t", [Product("d", DIRECTORY)], [])


def test_a_folder_that_came_as_files(store, tmp_path: Path):
    listing = "directory e\nprogram e/x y\nlink l\ne\nfile .h\ndirectory hollow\n"

    record = folder_record(store, listing, _1=b"run", _2=b"hidden")

    assert record is not None
    (stored,) = record.outputs
    store.download(stored, tmp_path / "d")
    there = tmp_path / "d"
    assert (there / "e/x y").read_bytes() == b"run"
    assert (there / "e/x y").stat().st_mode & 0o777 == 0o755
    assert (there / ".h").read_bytes() == b"hidden"
    assert str((there / "l").readlink()) == "e"
    assert list((there / "hollow").iterdir()) == []


@pytest.mark.parametrize("listing", ["file ../x\n", "directory /x\n", "link a/../../x\ny\n"])
def test_a_folder_stays_within_itself(store, listing):
    with pytest.raises(StagingError, match="leads out of its folder"):
        folder_record(store, listing, _1=b"")


def test_a_folder_of_which_a_file_is_missing(store):
    with pytest.raises(StagingError, match="has not stored all files of a folder"):
        folder_record(store, "file a\nfile b\n", _1=b"")
