"""The life of a local service, seen from outside: find it, start it, stop it.

Standard library and platformdirs only: the executor imports this, with or without the extra ``emulator``.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from platformdirs import user_state_path

from .agent.strays import kill_strays_of_nodes
from .config import ServiceConfig
from .running import RunningService, end_process, forget, is_there, probe, recorded

__all__ = [
    "RunningService",
    "ServiceStartError",
    "StartOptions",
    "StartedService",
    "default_state_dir",
    "find",
    "start",
    "stop",
]

STATE_DIR_VARIABLE = "SNAKEMAKE_AZUREBATCH_EMULATOR_DIR"
READY_FILE = "service.json"
LOG_FILE = "service.log"

_MODULE = "snakemake_executor_azurebatch.emulator"
_EXTRA = 'pip install "snakemake-executor-plugin-azurebatch[emulator]"'

#: The first start downloads Azurite.
_READY_LIMIT_S = 900.0
_PAUSE_S = 0.02
_WATCH_S = 0.2
_LAST_LINES = 8
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \S+ (?P<level>[A-Z]+) (?P<message>.*)")

Progress = Callable[[str], None]


class ServiceStartError(Exception):
    """The local service could not be started. The message says why and what to do."""


class StartedService:
    """A service that this process started. As a context manager it is stopped at the end."""

    def __init__(self, service: RunningService, process: subprocess.Popen[bytes]) -> None:
        self.service = service
        self._process = process

    def __enter__(self) -> StartedService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, timeout_s: float = 10) -> None:
        """End the service with its tasks and its Azurite: asked first, killed after ``timeout_s``."""
        _end(self._process, timeout_s)
        _clean_up(self.service.state_dir)

    @property
    def log_file(self) -> Path:
        """What the service says of itself."""
        return self.service.state_dir / LOG_FILE

    def wait(self, asked: threading.Event) -> int | None:
        """Wait until ``asked`` is set (None) or the service ends by itself (its exit code)."""
        while not asked.wait(_WATCH_S):
            if (exit_code := self._process.poll()) is not None:
                return exit_code
        return None

    def leave_running(self) -> None:
        """Let it live on after this process."""
        _left_running.append(self._process)


#: Kept, so that Python does not complain that nobody waits for them.
_left_running: list[subprocess.Popen[bytes]] = []


def default_state_dir() -> Path:
    """Where the user's own service lives; the variable SNAKEMAKE_AZUREBATCH_EMULATOR_DIR names another place."""
    named = os.environ.get(STATE_DIR_VARIABLE)
    return Path(named).expanduser().absolute() if named else user_state_path("snakemake-azurebatch") / "emulator"


def find(state_dir: Path) -> RunningService | None:
    """The service that runs in ``state_dir``: its process lives and it answers. A stale record is deleted."""
    state_dir = state_dir.absolute()
    service = recorded(state_dir / READY_FILE)
    if service is None:
        return None
    if is_there(service.pid):
        answers = probe(service.batch_url, service.ca_file)
        if answers is None:  # too busy to say
            return None
        if answers:
            return service
    forget(state_dir / READY_FILE)
    return None


@dataclass(frozen=True, slots=True)
class StartOptions:
    """How a service behaves."""

    clock_speed: float = 1.0  #: seconds of its clock per second of the world
    simulate: str = ""  #: seconds, or least-most seconds, that tasks take without running anything
    is_https: bool = False
    bearer_tokens: Path | None = None  #: a file with the tokens that are accepted, one per line; None: any
    container_runtime: str = "process"  #: auto, docker, podman or process
    is_fresh: bool = False  #: forget what the service before knew
    with_blobs: bool = True
    has_blob_faults: bool = False  #: requests to blob storage can fail on purpose; slower

    def arguments(self) -> list[str]:
        """For the service's command line."""
        found = ["--clock-speed", repr(self.clock_speed), "--container-runtime", self.container_runtime]
        found += ["--simulate", self.simulate] if self.simulate else []
        found += ["--bearer-tokens", str(self.bearer_tokens.absolute())] if self.bearer_tokens else []
        flags = {"--https": self.is_https, "--fresh": self.is_fresh, "--no-blobs": not self.with_blobs}
        flags["--blob-faults"] = self.has_blob_faults
        return found + [flag for flag, is_set in flags.items() if is_set]


def start(
    state_dir: Path,
    *,
    port: int = 0,
    lifeline: bool = False,
    progress: Progress = lambda text: None,
    options: StartOptions | None = None,
) -> StartedService:
    """Start a service and wait until it and its Azurite answer.

    ``port`` 0 is the one that the service had before, if it is free, or any free one. With ``lifeline``
    the service ends when this process does, whatever ends it.
    ``progress`` gets a line where something takes long. Raises ServiceStartError.
    """
    if any(find_spec(package) is None for package in ("aiohttp", "lark")):
        raise ServiceStartError(f"The local Azure Batch service needs its extra packages: {_EXTRA}")
    state_dir = state_dir.absolute()
    with _alone(state_dir):
        _refuse_second(state_dir)
        _clean_up(state_dir)
        log = state_dir / LOG_FILE
        begins_at = log.stat().st_size if log.exists() else 0
        process = _launch(state_dir, port, lifeline, options or StartOptions())
        try:
            return StartedService(_await_ready(process, state_dir, begins_at, progress), process)
        except BaseException:
            _end(process, timeout_s=10)
            _clean_up(state_dir)
            raise


def stop(state_dir: Path, timeout_s: float = 10) -> bool:
    """End the service of ``state_dir``, whoever started it. False where none ran."""
    state_dir = state_dir.absolute()
    service = recorded(state_dir / READY_FILE)
    ran = service is not None and end_process(service.pid, timeout_s)
    if service is not None:
        _clean_up(state_dir)
    return ran


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """One start at a time in a state directory."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state_dir / "service.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServiceStartError(f"The local service cannot use {state_dir}: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_second(state_dir: Path) -> None:
    service = recorded(state_dir / READY_FILE)
    if service is None or not is_there(service.pid):
        return
    if find(state_dir) is not None:
        raise ServiceStartError(f"A local service runs in {state_dir} already: {service.batch_url}")
    if (state_dir / READY_FILE).exists():
        raise ServiceStartError(
            f"A local service runs in {state_dir} already, but does not answer (process {service.pid}). "
            "Stop it first: snakemake-azurebatch emulator stop"
        )


def _launch(state_dir: Path, port: int, lifeline: bool, options: StartOptions) -> subprocess.Popen[bytes]:
    # -P: what lies in the current folder must not shadow a module
    argv = [sys.executable, "-P", "-m", _MODULE, "--state-dir", str(state_dir), "--port", str(port)]
    argv += ["--ready-file", str(state_dir / READY_FILE), *options.arguments()]
    if lifeline:
        argv.append("--lifeline")
    with (state_dir / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await_ready(
    process: subprocess.Popen[bytes], state_dir: Path, begins_at: int, progress: Progress
) -> RunningService:
    """Watch the process and its ready file; hand its log's words on to ``progress``."""
    told = 0
    give_up = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < give_up:
        lines = _log_lines(state_dir, begins_at)
        service = recorded(state_dir / READY_FILE)
        if service is not None and service.pid == process.pid:
            return service
        for line in lines[told:]:
            if (logged := _LOGGED.match(line)) and logged["level"] == "INFO":
                progress(logged["message"])
        told = len(lines)
        if process.poll() is not None:
            raise ServiceStartError(_why_it_ended(process.returncode, _log_lines(state_dir, begins_at), state_dir))
        time.sleep(_PAUSE_S)
    raise ServiceStartError(
        f"The local service was not ready within {_READY_LIMIT_S:g} s. Its log: {state_dir / LOG_FILE}"
    )


def _log_lines(state_dir: Path, begins_at: int) -> list[str]:
    """The whole lines that this start has logged."""
    with (state_dir / LOG_FILE).open("rb") as log:
        log.seek(begins_at)
        return log.read().decode(errors="replace").split("\n")[:-1]


def _why_it_ended(exit_code: int, lines: list[str], state_dir: Path) -> str:
    """Expected troubles (exit codes 3, 4 and 6) end with their own words; anything else with the log's end."""
    if exit_code in (3, 4, 6):
        words = "\n".join(line for line in lines if not _LOGGED.match(line))
        return f"The local service could not be started: {words}"
    last = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
    return f"The local service ended with {exit_code} before it was ready. Its log ({state_dir / LOG_FILE}):\n{last}"


def _end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _clean_up(state_dir: Path) -> None:
    """A service that was killed leaves its record and its tasks behind."""
    forget(state_dir / READY_FILE)
    kill_strays_of_nodes(ServiceConfig(state_dir.resolve()).nodes_dir)
