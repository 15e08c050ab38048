"""A service as its ready file tells it, and whether it is really there. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from .config import DEVELOPMENT_KEY
from .environment import variables

_MODULE = "snakemake_executor_azurebatch.emulator"
#: Every answer says what tasks with container settings run in: docker, podman or process. Azure has no such header.
RUNTIME_HEADER = "x-local-container-runtime"
_ANSWER_S = 10.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class RunningService:
    """One running service. The keys are the development ones; they are not in the repr."""

    pid: int
    batch_url: str
    account: str
    blob_url: str  #: empty for a service without blob storage
    state_dir: Path
    ca_file: str = ""  #: what clients of a service with HTTPS trust; empty for one with HTTP

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this service, keys included."""
        return variables(self.batch_url, self.account, DEVELOPMENT_KEY, self.blob_url, self.ca_file)


def recorded(ready_file: Path) -> RunningService | None:
    """What the ready file says; None where there is none, or it is not one."""
    try:
        facts = json.loads(ready_file.read_text(encoding="utf-8"))
        return RunningService(
            int(facts["pid"]),
            str(facts["batch_url"]),
            str(facts["account"]),
            str(facts["blob_url"] or ""),
            ready_file.parent,
            str(facts.get("ca_file") or ""),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(ready_file: Path) -> None:
    """Delete a ready file that is stale."""
    ready_file.unlink(missing_ok=True)


def is_there(pid: int) -> bool:
    """Whether that process is a local service: a number can be another process's by now."""
    return _MODULE in _command(pid)


def _command(pid: int) -> str:
    """Command line of a process; empty for none and for one that is only to be reaped."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


def probe(batch_url: str, ca_file: str = "") -> bool | None:
    """Whether a Batch service answers there; None where something listens, but says nothing within 10 s."""
    try:
        return _header(batch_url, ca_file, "DataServiceVersion") is not None
    except TimeoutError:
        return None
    except (OSError, HTTPException):
        return False


def container_runtime(batch_url: str, ca_file: str = "") -> str | None:
    """What tasks of the local service there run in: docker, podman or process; None where none answers."""
    try:
        return _header(batch_url, ca_file, RUNTIME_HEADER, "/_admin/")
    except (OSError, HTTPException):
        return None


def _header(batch_url: str, ca_file: str, name: str, path: str = "/") -> str | None:
    """One header of a service's answer, be it a refusal.

    Raises OSError (a certificate that is gone, a timeout), HTTPException.
    """
    connection = connect(batch_url, ca_file, _ANSWER_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().getheader(name)
    finally:
        connection.close()


def connect(batch_url: str, ca_file: str, timeout_s: float) -> HTTPConnection:
    """A connection to a service, not yet open. Raises OSError where ``ca_file`` cannot be read."""
    parts = urlsplit(batch_url)
    if parts.scheme != "https":
        return HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    context = ssl.create_default_context(cafile=ca_file)
    return HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout_s, context=context)


def end_process(pid: int, timeout_s: float) -> bool:
    """SIGTERM, SIGKILL after ``timeout_s``; waits until it is gone. False where that service does not run."""
    if not is_there(pid):
        return False
    give_up = time.monotonic() + timeout_s
    _signal(pid, signal.SIGTERM)
    while _runs(pid):
        if time.monotonic() > give_up:
            _signal(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    return True


def _runs(pid: int) -> bool:
    """Whether the process still runs. Its command line is empty a little before that: while it is being torn down."""
    if not Path("/proc/self/stat").exists():
        return is_there(pid)
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
