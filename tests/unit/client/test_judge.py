"""From a sighting to a verdict, and the verdict in words."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import CommitRecord
from snakemake_executor_azurebatch.run.again import Try
from snakemake_executor_azurebatch.run.explain import ADVICE, Evidence, explain, tail
from snakemake_executor_azurebatch.run.judge import (
    JOB_NOT_FOUND,
    TASK_NOT_FOUND,
    Cause,
    Failure,
    Known,
    Sighting,
    judge,
)


def test_done_with_exit_code_0_is_success():
    assert judge(Sighting("t", 0), CommitRecord("t", "done", 0)) is None


@pytest.mark.parametrize(
    ("error_class", "cause"),
    [
        (protocol.ERROR_COMMAND, Cause.COMMAND),
        (protocol.ERROR_MISSING_OUTPUT, Cause.MISSING_OUTPUT),
        (protocol.ERROR_STAGE_IN, Cause.STAGE_IN),
        (protocol.ERROR_STAGE_OUT, Cause.STAGE_OUT),
        (protocol.ERROR_SETUP, Cause.SETUP),
        ("from the future", Cause.SETUP),
    ],
)
def test_the_record_names_the_cause(error_class, cause):
    failure = judge(Sighting("t", 1), CommitRecord("t", "command", 1, error_class=error_class, error_message="why"))

    assert failure is not None
    assert failure.cause is cause


NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sighting", "cause", "again"),
    [
        (Sighting("t", None, "BlobNotFound", "One of the blobs is missing"), Cause.STAGE_IN, False),
        (Sighting("t", None, "BlobDownloadTimedOut", "No answer"), Cause.STAGE_IN, True),
        (Sighting("t", None, "ResourceContainerAccessDenied"), Cause.STAGE_IN, False),
        (Sighting("t", None, "ResourceContainerListTimedOut"), Cause.STAGE_IN, True),
        (Sighting("t", None, "DiskFull", "No space"), Cause.DISK_FULL, True),
        (Sighting("t", None, "ResourceFileWriteFailed"), Cause.DISK_FULL, True),
        (Sighting("t", None, "ContainerInvalidImage", "manifest unknown"), Cause.IMAGE, False),
        (Sighting("t", None, "ContainerInvalidImage", "net/http: TLS handshake timeout"), Cause.IMAGE, True),
        (Sighting("t", None, "ContainerInvalidImage", "toomanyrequests: rate limit"), Cause.IMAGE, True),
        (Sighting("t", None, "ContainerInvalidRegistry", "unauthorized"), Cause.REGISTRY, False),
        (Sighting("t", None, "ContainerInvalidRegistry", "received 503"), Cause.REGISTRY, True),
        (Sighting("t", 0, "FileUploadAccessDenied", "Denied"), Cause.STAGE_OUT, False),
        (Sighting("t", 0, "FileUploadTimedOut", "No answer"), Cause.STAGE_OUT, True),
        (Sighting("t", None, "CommandProgramNotFound"), Cause.NOT_STARTED, False),
        (Sighting("t", None, "MaxInternalRetryCountReached"), Cause.NODE_LOST, True),
        (Sighting("t", None, "OfTheFuture", "what?"), Cause.UNKNOWN, True),
        (Sighting("t", None), Cause.UNKNOWN, True),
        (Sighting("t", None, TASK_NOT_FOUND), Cause.TASK_GONE, False),
        (Sighting("t", None, JOB_NOT_FOUND), Cause.JOB_GONE, False),
        (Sighting("t", 143, "TaskEnded", "The task was ended"), Cause.CANCELLED, False),
        (Sighting("t", protocol.EXIT_NO_PYTHON, "FailureExitCode"), Cause.SETUP, False),
        (Sighting("t", protocol.EXIT_STAGE_IN, "FailureExitCode"), Cause.STAGE_IN, True),
        (Sighting("t", protocol.EXIT_STAGE_OUT, "FailureExitCode"), Cause.STAGE_OUT, True),
        (Sighting("t", 137, "FailureExitCode"), Cause.KILLED, True),
        (Sighting("t", -9, "FailureExitCode"), Cause.KILLED, True),
        (Sighting("t", 125, "FailureExitCode"), Cause.NODE_LOST, True),
        (Sighting("t", 0), Cause.NODE_LOST, True),
    ],
)
def test_without_a_record_the_service_tells(sighting, cause, again):
    failure = judge(sighting, None)

    assert failure is not None
    assert (failure.cause, failure.is_infrastructure) == (cause, again)


def recorded(error_class: str, exit_code: int | None = None, reason: str = "") -> CommitRecord:
    return CommitRecord("t", "command", exit_code, error_class=error_class, error_message="why", reason=reason)


@pytest.mark.parametrize(
    ("record", "stderr", "cause", "again"),
    [
        (recorded("command", 3), "oh no\n", Cause.COMMAND, False),
        (recorded("command", 137), "", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "numpy.core._exceptions._ArrayMemoryError: MemoryError\n", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "OSError: [Errno 12] Cannot allocate memory\n", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "Error: cannot allocate vector of size 3.7 Gb\n", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "samtools sort: couldn't allocate memory\n", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "x' returned non-zero exit status 137.\n", Cause.OUT_OF_MEMORY, False),
        (recorded("command", 1), "cp: write error: No space left on device\n", Cause.DISK_FULL, False),
        (recorded("command", 143, protocol.REASON_STOPPED), "", Cause.PREEMPTED, True),
        (recorded("stage_in", None, protocol.REASON_STOPPED), "", Cause.PREEMPTED, True),
        (recorded("stage_in", None, protocol.REASON_NO_SPACE), "", Cause.DISK_FULL, True),
        (recorded("stage_in", None, protocol.REASON_UNREACHABLE), "", Cause.STAGE_IN, True),
        (recorded("stage_out", 0, protocol.REASON_UNREACHABLE), "", Cause.STAGE_OUT, True),
        (recorded("stage_out", 0), "", Cause.STAGE_OUT, False),
        (recorded("stage_out", 0), "cat: write error: No space left on device\n", Cause.DISK_FULL, True),
    ],
)
def test_what_lay_behind_a_recorded_failure(record, stderr, cause, again):
    failure = judge(Sighting("t", 1), record, Known(stderr=stderr))

    assert failure is not None
    assert (failure.cause, failure.is_infrastructure) == (cause, again)


@pytest.mark.parametrize(("took_s", "cause"), [(59, Cause.TIME_LIMIT), (30, Cause.CANCELLED)])
@pytest.mark.parametrize("record", [None, recorded("command", 143, protocol.REASON_STOPPED)])
def test_a_task_that_was_ended_is_not_blamed_on_its_command(took_s, cause, record):
    sighting = Sighting("t", 143, "TaskEnded", started=NOON, ended=NOON + timedelta(seconds=took_s))

    failure = judge(sighting, record, Known(runtime_s=60))

    assert failure is not None
    assert (failure.cause, failure.is_infrastructure) == (cause, False)


def test_a_task_that_came_too_late_for_its_access():
    failure = judge(Sighting("t", 94, "FailureExitCode"), None, Known(access_ended=True))

    assert failure is not None
    assert (failure.cause, failure.is_infrastructure) == (Cause.ACCESS_EXPIRED, True)


@pytest.mark.parametrize(
    ("sighting", "record", "cause", "again"),
    [
        (Sighting("t", protocol.EXIT_STAGE_OUT, "FailureExitCode"), None, Cause.ACCESS_RAN_OUT, False),
        (Sighting("t", 0, "FileUploadAccessDenied", "Denied"), None, Cause.ACCESS_RAN_OUT, False),
        (Sighting("t", 137, "FailureExitCode"), None, Cause.KILLED, True),
        (Sighting("t", protocol.EXIT_STAGE_OUT, "FailureExitCode"), recorded("stage_out", 0), Cause.STAGE_OUT, False),
    ],
)
def test_a_task_that_took_longer_than_its_access(sighting, record, cause, again):
    failure = judge(sighting, record, Known(access_ran_out=True))

    assert failure is not None
    assert (failure.cause, failure.is_infrastructure) == (cause, again)


def test_a_task_that_was_stopped_as_it_was_deleted_is_not_tried_again():
    failure = judge(Sighting("t", None, TASK_NOT_FOUND), recorded("command", 143, protocol.REASON_STOPPED))

    assert failure == Failure(Cause.TASK_GONE)


def test_what_a_deleted_task_had_left_counts():
    assert judge(Sighting("t", None, TASK_NOT_FOUND), CommitRecord("t", "done", 0)) is None


def test_memory_and_earlier_tries_are_told():
    evidence = Evidence(peak_memory_bytes=3 << 30, memory_asked="2000 MB")
    tries = [Try(Failure(Cause.NODE_LOST, "", None, "n1"), NOON), Try(Failure(Cause.DISK_FULL, "DiskFull: x"), None)]

    lines = explain("t", Failure(Cause.OUT_OF_MEMORY, "", 137, "n2"), evidence, tries).splitlines()

    assert lines == [
        f"Task t on node n2: {Cause.OUT_OF_MEMORY.value}, exit code 137.",
        f"  Tried before: 12:00:00 UTC: {Cause.NODE_LOST.value} (node n1)",
        f"  Tried before: {Cause.DISK_FULL.value}: DiskFull: x",
        "Memory of its largest process: 3.0 GiB, 2000 MB requested.",
        ADVICE[Cause.OUT_OF_MEMORY],
    ]


def test_every_cause_is_in_the_documentation_with_the_same_words():
    page = Path(__file__).parents[3] / "docs" / "failures.md"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines() if "| `" in line]
    found = {row[0].strip("`"): (row[1], row[4]) for row in rows if row[0].strip("`").isupper()}

    assert found == {cause.name: (cause.value, ADVICE.get(cause, "")) for cause in Cause}


def test_a_failure_in_words():
    evidence = Evidence([Path("logs/t/stderr.txt")], [Path("rule.log")], ["oh", "no"], ["x.log: gone"])

    text = explain("t", Failure(Cause.MISSING_OUTPUT, "a.txt, b.txt", 0, "node-1"), evidence)

    assert text.splitlines() == [
        "Task t on node node-1: the command ended well, but declared output is missing.",
        "  a.txt, b.txt",
        "Last lines of its stderr:",
        "  | oh",
        "  | no",
        "Saved: logs/t/stderr.txt",
        "Logs: rule.log",
        "Not brought back: x.log: gone",
        "The command has to write these files, at these paths relative to the working directory.",
    ]


def test_the_exit_code_is_told():
    assert "the command failed, exit code 3." in explain("t", Failure(Cause.COMMAND, "", 3), Evidence())


def test_the_tail_ends_where_snakemake_sums_up():
    assert tail("what went wrong\nRuleException:\nCalledProcessError in file ...\n") == ["what went wrong"]
    assert tail("RuleException:\nCalledProcessError") == ["RuleException:", "CalledProcessError"]


def test_the_tail_begins_where_snakemake_has_started():
    assert tail("Building DAG of jobs...\nExecute 1 jobs...\nwhat went wrong\n") == ["what went wrong"]


def test_the_tail_leaves_out_what_says_nothing():
    assert tail("one\n\n[stage] in: 3 files\ntwo  \n") == ["one", "two"]
