"""What the controller tells the stager (manifest v1) and what the stager leaves (commit record v1).

Both are JSON. The stager writes the commit record last, after every output is stored, as a blob under
``tasks/<task id>/``. A task that ended without a commit record lost its node. A short manifest is in the task's own
environment, which costs no request of its own; a longer one, or one with secrets, is a blob beside the commit record,
written before the task is created.

Names and units: ``path`` is what Snakemake calls the file (relative to the workdir, or absolute);
``blob`` is a blob's name inside the workdir's blob container; ``md5`` is in hexadecimal; ``mode`` is the
permission bits as an integer. A ``directory`` travels as one tar archive of what is in it, without times and
owners, so that equal content is equal bytes; whoever unpacks it gives the times.

Files of a storage provider that the stager moves have ``container_url`` as well: the blob container that the blob
is in, with a SAS that is good for this blob alone. It is a secret. ``path`` is then the provider's local copy.
Such a blob may have no MD5 (empty: only its size is checked); ``etag`` says which version of it is meant.

Many small files may share one blob, a pack: their contents one after the other (see ``packing``). Such a file begins
at ``offset`` of its blob, which has ``pack_bytes`` bytes; ``offset`` is null for a file that is all of its blob.

The smallest outputs and logs are in the commit record as well, as ``content`` (in base64), so that who reads the record
needs no further request for them. Their blobs are there all the same: other tasks read these.

Standard library only, Python 3.8 or newer: this file runs on nodes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

VERSION = 1

#: Environment of a task: blob container URLs with their SAS, and the blob name that the manifest has, or would have.
ENV_READ_URL = "SMK_STAGE_READ_URL"
ENV_WRITE_URL = "SMK_STAGE_WRITE_URL"
ENV_MANIFEST = "SMK_STAGE_MANIFEST"
#: The manifest itself, in base64, where it is in the environment.
ENV_MANIFEST_TEXT = "SMK_STAGE_MANIFEST_TEXT"
#: Up to here a manifest is short: a request of 100 tasks may have 1 MiB.
#: source: Azure Batch documentation, "RequestBodyTooLarge".
SHORT_MANIFEST_BYTES = 4 << 10

#: Environment of the command: the Python that runs the stager, the stager's path, the pins' path.
ENV_PYTHON = "SMK_STAGE_PYTHON"
ENV_STAGER = "SMK_STAGE_STAGER"
ENV_PINS = "SMK_STAGE_PINS"
#: Where the exit code of the command that failed is noted: beside the pins.
EXIT_CODE_SUFFIX = ".exit"
#: The Snakemake version that the controller runs.
ENV_SNAKEMAKE = "SMK_STAGE_SNAKEMAKE"
#: Storage providers, as names with commas between: whose files the stager moves, and whose plugin does it itself.
ENV_STAGED_PROVIDERS = "SMK_STAGE_STAGED_PROVIDERS"
ENV_TASK_PROVIDERS = "SMK_STAGE_TASK_PROVIDERS"

FILE = "file"
DIRECTORY = "directory"

#: Of which completed tasks the files stay on their node.
KEEPS = KEEP_FAILED, KEEP_ALL, KEEP_NONE = "failed", "all", "none"

#: Exit codes of a task whose command did not decide it. The commit record tells them from the user's own.
EXIT_NO_PYTHON = 90
EXIT_STAGE_IN = 91
EXIT_MISSING_OUTPUT = 92
EXIT_STAGE_OUT = 93
EXIT_SETUP = 94


class ProtocolError(Exception):
    """A manifest or commit record that this version cannot read."""


@dataclass(frozen=True)
class InputFile:
    """One file or folder to place before the command runs."""

    path: str
    blob: str
    size_bytes: int
    md5: str
    mode: int = 0o644
    kind: str = FILE
    container_url: str = field(default="", repr=False)  #: empty: the workdir's blob container
    etag: str = ""  #: empty: any version
    offset: Optional[int] = None
    pack_bytes: int = 0


@dataclass(frozen=True)
class Sources:
    """A tar.gz of the workflow's sources; members are absolute paths without their leading slash."""

    blob: str
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Shell:
    """One way to run a rendered command: ``program`` (a name, or a path on the controller) with ``options``."""

    program: str
    options: List[str]
    prefix: str = ""
    suffix: str = ""

    def text(self, command: str) -> str:
        """What the program is given (source: Snakemake 9.27.1, ``shell``: joined by spaces, then stripped)."""
        return f"{self.prefix} {command} {self.suffix}".strip()


@dataclass(frozen=True)
class Command:
    """What runs: ``kind`` is ``shell`` (a rendered rule) or ``snakemake`` (a pinned remote call).

    ``script`` is shell text in both cases, run in the workdir. ``pins`` are the controller's decisions
    about the job's files (see ``pinned_snakemake``), written to the file that ENV_PINS names. For the
    providers see ENV_STAGED_PROVIDERS and ENV_TASK_PROVIDERS.

    Of a rendered rule: the first of ``shells`` whose program is there runs it, in ``folder`` (relative to the
    workdir); ``tmpdir`` is made before; where there is a ``benchmark`` file to write, ``repetitions`` are run
    after ``script``.
    """

    kind: str
    script: str
    pins: List[Dict[str, Any]] = field(default_factory=list)
    snakemake_version: str = ""
    staged_providers: List[str] = field(default_factory=list)
    task_providers: List[str] = field(default_factory=list)
    shells: List[Shell] = field(default_factory=list)
    folder: str = ""
    tmpdir: str = ""
    benchmark: str = ""
    repetitions: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Product:
    """One output or log that the command is to leave. A missing optional one is no failure.

    ``blob`` and ``container_url`` are empty where it goes into the workdir's blob container, under a name that the
    stager gives. What has a higher ``level`` is stored later, and so never looks older.
    """

    path: str
    kind: str = FILE
    optional: bool = False
    blob: str = ""
    container_url: str = field(default="", repr=False)
    level: int = 0
    touch: bool = False  #: touch(): made, empty, where a rendered command has not made it


@dataclass(frozen=True)
class CacheLimits:
    """What the node cache may take. None: the stager's own limits."""

    min_free_bytes: Optional[int] = None  #: stays free on the cache's file system
    max_bytes: Optional[int] = None  #: of all files in the cache together; 0: there is to be no cache


@dataclass(frozen=True)
class Manifest:
    """All that one task needs to know."""

    task_id: str
    workdir: str  #: the controller's working directory, absolute
    destination: str  #: blob name prefix of this task, without a trailing slash: ``tasks/<task id>``
    command: Command
    same_path: bool = False  #: run at ``workdir`` itself where that is a new folder (containers)
    sources: Optional[Sources] = None
    inputs: List[InputFile] = field(default_factory=list)
    directories: List[str] = field(default_factory=list)  #: made before the command runs
    environment: Dict[str, str] = field(default_factory=dict)
    outputs: List[Product] = field(default_factory=list)
    logs: List[Product] = field(default_factory=list)  #: brought back on failure too
    cache: Optional[CacheLimits] = None
    keep_files: str = KEEP_FAILED  #: whether the folder that the command ran in stays: KEEP_*
    marks: Dict[str, str] = field(default_factory=dict)  #: metadata of each blob that the task leaves: whose it is
    version: int = VERSION

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return _as_json(self)

    @property
    def is_secret(self) -> bool:
        """Whether a SAS is in it."""
        return any(one.container_url for one in self.inputs) or any(
            one.container_url for one in (*self.outputs, *self.logs)
        )

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Read a manifest. Raises ProtocolError for another version or a malformed text."""
        data = _load(text, "manifest")
        try:
            shells = [Shell(**item) for item in data["command"].pop("shells", [])]
            data["command"] = Command(**data["command"], shells=shells)
            data["sources"] = Sources(**data["sources"]) if data.get("sources") else None
            data["cache"] = CacheLimits(**data["cache"]) if data.get("cache") else None
            data["inputs"] = [InputFile(**item) for item in data["inputs"]]
            data["outputs"] = [Product(**item) for item in data["outputs"]]
            data["logs"] = [Product(**item) for item in data["logs"]]
            return Manifest(**data)
        except (KeyError, TypeError) as error:
            raise ProtocolError("malformed manifest: %s" % error) from error


@dataclass(frozen=True)
class StoredFile:
    """One output or log that is in blob storage now."""

    path: str
    blob: str
    size_bytes: int
    md5: str
    mode: int = 0o644
    kind: str = FILE
    container_url: str = ""  #: without a SAS; empty: the workdir's blob container
    offset: Optional[int] = None
    pack_bytes: int = 0
    content: Optional[str] = field(default=None, repr=False)  #: in base64; null where only the blob has it


#: Classes of failure that a commit record can name.
ERROR_COMMAND = "command"
ERROR_MISSING_OUTPUT = "missing_output"
ERROR_STAGE_IN = "stage_in"
ERROR_STAGE_OUT = "stage_out"
ERROR_SETUP = "setup"

#: What lay behind a failure, where it is one of these: then another try, perhaps on another node, may do better.
REASON_UNREACHABLE = "unreachable"  #: blob storage gave no answer, or was busy, time after time
REASON_NO_SPACE = "no_space"  #: on the disk of the node
REASON_STOPPED = "stopped"  #: the task was told to stop by a signal


@dataclass(frozen=True)
class CommitRecord:
    """How the task went. ``phase`` is the last one reached: setup, stage_in, command, stage_out, done."""

    task_id: str
    phase: str
    exit_code: Optional[int] = None  #: of the command; None where it never ran
    outputs: List[StoredFile] = field(default_factory=list)
    logs: List[StoredFile] = field(default_factory=list)
    #: stdout.txt and stderr.txt of the task, kept on failure only
    streams: List[StoredFile] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)  #: paths of required outputs that the command did not leave
    timings_s: Dict[str, float] = field(default_factory=dict)  #: per phase
    peak_memory_bytes: Optional[int] = None  #: of the largest process of the command
    peak_disk_bytes: Optional[int] = None  #: what the task's folder took when the command had ended
    cpu_s: Optional[float] = None  #: user and system time of the command and all that it started and waited for
    cache_hits: int = 0  #: inputs that the node had already; archives of sources and folders count as one each
    cache_bytes: int = 0
    downloaded_bytes: int = 0  #: inputs that it had not
    uploaded_bytes: int = 0  #: outputs, logs and streams
    error_class: Optional[str] = None
    error_message: Optional[str] = None
    reason: str = ""  #: REASON_*, or empty
    same_path: Optional[bool] = None  #: whether it ran at the controller's own path; None where it never got a folder
    why_tree: str = ""  #: why it did not, where it was to
    version: int = VERSION

    def to_json(self) -> str:
        """The record as JSON text."""
        return _as_json(self)

    @staticmethod
    def from_json(text: str) -> CommitRecord:
        """Read a record. Raises ProtocolError for another version or a malformed text."""
        data = _load(text, "commit record")
        try:
            for name in ("outputs", "logs", "streams"):
                data[name] = [StoredFile(**item) for item in data[name]]
            return CommitRecord(**data)
        except (KeyError, TypeError) as error:
            raise ProtocolError("malformed commit record: %s" % error) from error


def manifest_blob(destination: str) -> str:
    """Where the manifest of a task is."""
    return destination + "/manifest.json"


def record_blob(destination: str) -> str:
    """Where the commit record of a task is."""
    return destination + "/commit.json"


def encode(text: str) -> bytes:
    """JSON text as the bytes of a blob. File names need not be UTF-8: such bytes travel as they are."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The bytes of a blob as JSON text: the reverse of ``encode``."""
    return data.decode("utf-8", "surrogateescape")


def as_variable(data: bytes) -> str:
    """The bytes of a short manifest as the value of ENV_MANIFEST_TEXT."""
    return base64.b64encode(data).decode("ascii")


def of_variable(value: str) -> bytes:
    """The reverse of ``as_variable``. Raises ProtocolError."""
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ProtocolError("malformed manifest: %s" % error) from error


def _as_json(message: Manifest | CommitRecord) -> str:
    # Not asdict, which copies all that is in it: the controller writes one manifest for each job.
    return json.dumps(vars(message), default=vars, sort_keys=True, ensure_ascii=False)


def _load(text: str, what: str) -> Dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ProtocolError("%s is not JSON: %s" % (what, error)) from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ProtocolError("this stager reads %s version %d" % (what, VERSION))
    return data
