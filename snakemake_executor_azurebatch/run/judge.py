"""From a sighting of a task to a verdict (pure).

A sighting is what the service says of the task; with it go the commit record that the stager left, if any, and what
else is known: what the job asked for, whether its access had ended, what it wrote to stderr. The classes and what
happens with each are listed in ``docs/failures.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import CommitRecord


class Cause(Enum):
    """Why a job failed. The value is what the user reads."""

    COMMAND = "the command failed"
    OUT_OF_MEMORY = "it was killed, most likely because it ran out of memory"
    DISK_FULL = "the disk of its node was full"
    TIME_LIMIT = "it took longer than its time limit"
    MISSING_OUTPUT = "the command ended well, but declared output is missing"
    NOT_ENSURED = "the command ended well, but an output is not as ensure() demands"
    STAGE_IN = "its inputs could not be brought to the node"
    STAGE_OUT = "its outputs could not be stored"
    BRING_BACK = "its outputs could not be brought back"
    SETUP = "it could not be set up on the node"
    IMAGE = "its container image could not be used"
    REGISTRY = "the container registry refused its image"
    ACCESS_EXPIRED = "its access to blob storage had ended when it started"
    ACCESS_RAN_OUT = "its access to blob storage ended while it ran"
    NODE_LOST = "it ended without a commit record: its node was lost, or its process was ended"
    KILLED = "it was killed before it could leave a commit record"
    PREEMPTED = "its node was taken away while it ran"
    NOT_SUBMITTED = "it could not be submitted"
    NOT_STARTED = "Azure Batch could not start it"
    START_TASK = "no node can run it: the start task of the nodes fails"
    UNUSABLE = "no node can run it: the nodes are unusable"
    QUOTA = "no node can run it: a quota of the account is used up"
    ALLOCATION = "no node can run it: Azure cannot give the pool any nodes"
    SCALING = "no node can run it: the autoscale formula of its pool fails"
    POOL_GONE = "no node can run it: its pool is gone or has no nodes"
    THROTTLED = "Azure asked for fewer requests for too long"
    SERVICE = "Azure could not be reached for too long"
    CREDENTIALS = "Azure refused the credentials for too long"
    CANCELLED = "somebody else has ended its task"
    TASK_GONE = "somebody else has deleted its task"
    JOB_GONE = "somebody else has ended or deleted the Batch job of this run"
    UNKNOWN = "Azure Batch ended it for a reason that is not known here"


#: There was nothing that could have left a record of it.
NO_PYTHON = (
    "there is no python in the container image that is 3.8 or newer. Name an image that has one with "
    "--container-image; a shell rule can do without (resources: azurebatch_staging='batch')"
)

#: Codes of failures that this plugin gives itself: what it looked for is gone.
TASK_NOT_FOUND, JOB_NOT_FOUND = "TaskNotFound", "JobNotFound"
TASK_ENDED = "TaskEnded"  #: terminated, by whomever, or over its time limit
_GONE = {TASK_NOT_FOUND: Cause.TASK_GONE, JOB_NOT_FOUND: Cause.JOB_GONE}
SIGKILLED = (137, -9)  #: exit codes of what SIGKILL has ended

_BY_ERROR_CLASS = {
    protocol.ERROR_COMMAND: Cause.COMMAND,
    protocol.ERROR_MISSING_OUTPUT: Cause.MISSING_OUTPUT,
    protocol.ERROR_STAGE_IN: Cause.STAGE_IN,
    protocol.ERROR_STAGE_OUT: Cause.STAGE_OUT,
    protocol.ERROR_SETUP: Cause.SETUP,
}

#: What the stager ends with where it could not even leave a record.
_BY_EXIT_CODE = {
    protocol.EXIT_STAGE_IN: Cause.STAGE_IN,
    protocol.EXIT_STAGE_OUT: Cause.STAGE_OUT,
    protocol.EXIT_SETUP: Cause.SETUP,
}

_AGAIN, _FINAL, _IF_PASSING = "again", "final", "if passing"

#: The service's codes, by how they begin; the first that fits counts. source: Azure Batch REST reference, task error
#: codes, which also says that none of these tasks is tried again by the service itself.
_BY_SERVICE_CODE = (
    ("DiskFull", Cause.DISK_FULL, _AGAIN),
    ("ResourceFileWriteFailed", Cause.DISK_FULL, _AGAIN),
    ("BlobDownload", Cause.STAGE_IN, _AGAIN),
    ("Blob", Cause.STAGE_IN, _FINAL),
    ("ResourceContainerList", Cause.STAGE_IN, _AGAIN),
    ("ResourceContainer", Cause.STAGE_IN, _FINAL),
    ("Resource", Cause.STAGE_IN, _AGAIN),
    ("FileUploadTimedOut", Cause.STAGE_OUT, _AGAIN),
    ("FileUploadMiscError", Cause.STAGE_OUT, _AGAIN),
    ("FileUpload", Cause.STAGE_OUT, _FINAL),
    ("ContainerInvalidRegistry", Cause.REGISTRY, _IF_PASSING),
    ("Container", Cause.IMAGE, _IF_PASSING),
    ("MaxInternalRetryCountReached", Cause.NODE_LOST, _AGAIN),
    ("TaskSchedulingConstraintFailed", Cause.NOT_STARTED, _FINAL),
    ("CommandProgramNotFound", Cause.NOT_STARTED, _FINAL),
    ("CommandLaunchFailed", Cause.NOT_STARTED, _FINAL),
    ("MountConfigurationError", Cause.NOT_STARTED, _FINAL),
    ("ApplicationPackageError", Cause.NOT_STARTED, _FINAL),
)

#: How a registry or a container runtime speaks of trouble that goes by.
_PASSING = re.compile(
    r"time.?out|timed out|temporar|connection (reset|refused)|handshake|unexpected eof|too ?many ?requests|"
    r"\b50[0234]\b",
    re.IGNORECASE,
)
#: How programs say that memory is short; the last two are Python's words for a child that SIGKILL has ended.
_SHORT_OF_MEMORY = re.compile(
    r"(cannot|can't|could not|couldn't|unable to|failed to) allocate (memory|vector)|"
    r"MemoryError|std::bad_alloc|OutOfMemoryError|oom-kill|"
    r"returned non-zero exit status 137|died with <Signals\.SIGKILL",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the service says of a completed task."""

    task_id: str
    exit_code: int | None
    failure_code: str | None = None  #: failureInfo.code of the service
    failure_message: str | None = None  #: failureInfo.message, and what its details say
    node_id: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    requeues: int = 0  #: how often the service has sent it back to the queue: nodes were lost or taken away


@dataclass(frozen=True, slots=True)
class Known:
    """What else is known of a task."""

    runtime_s: float | None = None  #: its time limit
    access_ended: bool = False  #: to blob storage, before it started
    access_ran_out: bool = False  #: while it ran
    stderr: str = ""  #: the last of what it wrote


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed, in words for the user."""

    cause: Cause
    detail: str = ""
    exit_code: int | None = None
    node_id: str | None = None
    is_infrastructure: bool = False  #: neither the workflow nor its settings can be blamed: worth another try


def judge(sighting: Sighting, record: CommitRecord | None, known: Known | None = None) -> Failure | None:
    """None for a task that did all it was to do, else why it did not."""
    known = known or Known()
    if record is not None and is_done(record):
        return None
    if sighting.failure_code == TASK_ENDED:
        return _ended(sighting, record, known)
    if sighting.failure_code in _GONE and (record is None or record.reason == protocol.REASON_STOPPED):
        return Failure(_GONE[sighting.failure_code], sighting.failure_message or "")
    if record is not None:
        return _with_record(sighting, record, known)
    return _without_record(sighting, known)


def is_done(record: CommitRecord) -> bool:
    """Whether this is the record of a task that did all it was to do."""
    return record.error_class is None and record.phase == "done" and record.exit_code == 0


def _ended(sighting: Sighting, record: CommitRecord | None, known: Known) -> Failure:
    exit_code = record.exit_code if record else sighting.exit_code
    limit_s = known.runtime_s
    if limit_s and sighting.started and sighting.ended:
        took_s = (sighting.ended - sighting.started).total_seconds()
        if took_s >= limit_s - 1:  # the service's times have milliseconds, and its clock ticks
            return Failure(Cause.TIME_LIMIT, f"limit: {limit_s:g} s", exit_code, sighting.node_id)
    return Failure(Cause.CANCELLED, "", exit_code, sighting.node_id)


def _with_record(sighting: Sighting, record: CommitRecord, known: Known) -> Failure:
    cause = _BY_ERROR_CLASS.get(record.error_class or "", Cause.SETUP)
    detail = "" if cause is Cause.COMMAND else record.error_message or ""
    again = record.reason == protocol.REASON_UNREACHABLE
    if record.reason == protocol.REASON_STOPPED:
        cause, detail, again = Cause.PREEMPTED, record.error_message or "", True
    elif record.reason == protocol.REASON_NO_SPACE:
        cause, again = Cause.DISK_FULL, True
    elif cause is Cause.COMMAND:
        cause = _of_command(record, known.stderr)
    elif cause is Cause.MISSING_OUTPUT:
        detail = ", ".join(record.missing)
    elif cause is Cause.STAGE_OUT:
        detail = "\n".join(filter(None, (detail, _service_words(sighting))))
        if not record.reason and _DISK_FULL.search(known.stderr):  # where Azure Batch moves the files, that tells it
            return Failure(Cause.DISK_FULL, detail, record.exit_code, sighting.node_id, is_infrastructure=True)
        again = again or (
            (sighting.failure_code or "").startswith("FileUpload") and _by_code(sighting.failure_code, "")[1]
        )
    return Failure(cause, detail, record.exit_code, sighting.node_id, again)


def _of_command(record: CommitRecord, stderr: str) -> Cause:
    if record.exit_code in SIGKILLED or _SHORT_OF_MEMORY.search(stderr):
        return Cause.OUT_OF_MEMORY
    return Cause.DISK_FULL if _DISK_FULL.search(stderr) else Cause.COMMAND


def _without_record(sighting: Sighting, known: Known) -> Failure:
    code, exit_code = sighting.failure_code, sighting.exit_code
    cause, again, detail = Cause.NODE_LOST, True, _service_words(sighting)
    if code not in (None, "FailureExitCode") or exit_code is None:
        cause, again = _by_code(code, sighting.failure_message or "")
    elif exit_code == protocol.EXIT_NO_PYTHON:
        cause, again, detail = Cause.SETUP, False, NO_PYTHON
    elif exit_code in SIGKILLED:
        # Where memory is short, the kernel ends the largest process first: the command. What has started it is small,
        # survives, and leaves a record (seen in a memory cgroup on Linux; not so where a command is many processes,
        # each smaller than that). What was killed itself was so mostly from outside: by a node that goes down, say.
        cause, again = Cause.KILLED, True
    elif exit_code in _BY_EXIT_CODE:
        cause = _BY_EXIT_CODE[exit_code]
    if known.access_ended and exit_code != 0:
        cause, again = Cause.ACCESS_EXPIRED, True
    elif known.access_ran_out and (exit_code == protocol.EXIT_STAGE_OUT or (code or "").startswith("FileUpload")):
        cause, again = Cause.ACCESS_RAN_OUT, False  # the next try would take as long
    return Failure(cause, detail, exit_code, sighting.node_id, again)


def _by_code(code: str | None, message: str) -> tuple[Cause, bool]:
    for begins, cause, how in _BY_SERVICE_CODE:
        if (code or "").startswith(begins):
            return cause, how is _AGAIN or (how is _IF_PASSING and bool(_PASSING.search(message)))
    return Cause.UNKNOWN, True


def _service_words(sighting: Sighting) -> str:
    """The service's code and sentence, unless they say no more than the exit code does."""
    if sighting.failure_code in (None, "FailureExitCode"):
        return ""
    return f"{sighting.failure_code}: {sighting.failure_message or ''}".rstrip(": ")
