"""One task's processes: started in a session of their own, all of them gone when the task has ended."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .failures import trouble
from .strays import kill_strays_of_task
from .usage import Usage
from .work import ContainerInfo

#: Between asking a task to end and making it end.
GRACE_S = 2.0

#: Unit of ru_maxrss. source: getrusage(2)
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class TaskProcess:
    """A running command. The process is reaped only after its group was killed, so its id cannot be another's."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self._process = process
        self._directory = directory
        self._floor_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
        self.usage = Usage()
        self.container: ContainerInfo | None = None
        self._reaping = False
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._watch, name=f"task-{process.pid}", daemon=True).start()

    @classmethod
    def start(cls, argv: Sequence[str], cwd: Path, directory: Path, environment: Mapping[str, str]) -> TaskProcess:
        """Run a program in ``cwd``; its output goes to stdout.txt and stderr.txt in ``directory``.

        Raises TaskTrouble with CommandProgramNotFound or CommandLaunchFailed.
        """
        with (directory / "stdout.txt").open("wb") as out, (directory / "stderr.txt").open("wb") as err:
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise trouble("CommandProgramNotFound", CommandProgram=argv[0]) from error
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise trouble("CommandLaunchFailed", CommandProgram=argv[0], Message=reason) from error
        return cls(process, directory)

    async def wait(self) -> int:
        """The exit code, once the command and everything it started are gone; 128 + n for signal n."""
        return await asyncio.shield(self._exited)

    async def end(self, grace_s: float = GRACE_S) -> int:
        """Ask the group to end (SIGTERM), make it end after ``grace_s`` (SIGKILL). Returns the exit code."""
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            return await self.wait()

    async def close(self) -> None:
        """Kill what is left and wait until it is gone."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        # PermissionError: macOS says so for a group of which only the unreaped leader is left
        with self._lock, suppress(ProcessLookupError, PermissionError):
            if not self._reaping:
                os.killpg(self._process.pid, number)

    def _watch(self) -> None:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:  # macOS before Python 3.13
            self._reap()
        self._signal(signal.SIGKILL)
        kill_strays_of_task(self._directory, self._process.pid)
        with self._lock:
            self._reaping = True
        code = self._reap()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._report, 128 - code if code < 0 else code)

    def _reap(self) -> int:
        """The process's return code. What it used counts all descendants that were waited for."""
        if self._process.returncode is None:
            _, status, spent = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            peak_bytes = spent.ru_maxrss * _MAXRSS_BYTES
            # A child begins with its parent's peak: only what is above it is its own.
            self.usage = Usage(peak_bytes if peak_bytes > self._floor_bytes else None, spent.ru_utime + spent.ru_stime)
        return self._process.returncode

    def _report(self, exit_code: int) -> None:
        if not self._exited.done():
            self._exited.set_result(exit_code)


def split(command_line: str) -> list[str]:
    """The words of a command line, as a POSIX shell finds them; nothing is expanded. Raises TaskTrouble."""
    try:
        return shlex.split(command_line)
    except ValueError as error:
        raise trouble("CommandLaunchFailed", Message=f"The command line cannot be split: {error}") from error
