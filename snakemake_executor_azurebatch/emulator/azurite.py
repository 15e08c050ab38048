"""Azurite as a child process: the blob storage of a local service."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from . import programs
from .azurite_install import AzuriteError, find_or_install
from .environment import STORAGE_ACCOUNT, STORAGE_KEY

__all__ = ["Azurite", "AzuriteError"]

HOST = "127.0.0.1"
LOG = "azurite.log"

_LIFELINE = Path(__file__).with_name("azurite_lifeline.cjs")
_FLAGS = ("--disableTelemetry", "--silent", "--skipApiVersionCheck")

#: Another process can take a free port before Azurite does.
_PORT_TRIES = 5
#: Azurite answers after about a second; a loaded machine gets two minutes.
_ANSWER_TRIES = 1200
_ANSWER_PAUSE_S = 0.1
_STOP_S = 5.0
_LAST_LINES = 5


class _PortTaken(AzuriteError):
    """Something else listens on the port."""


class Azurite:
    """A running Azurite. Its data are in ``location`` and survive it; its log is ``azurite.log`` there."""

    account = STORAGE_ACCOUNT
    key = STORAGE_KEY

    def __init__(self, process: Process, port: int) -> None:
        self.port = port
        self._process = process
        #: Ends with the exit code when the process dies.
        self.exited: asyncio.Task[int] = asyncio.create_task(process.wait())

    @property
    def blob_url(self) -> str:
        """``http://127.0.0.1:PORT/devstoreaccount1``."""
        return f"http://{HOST}:{self.port}/{self.account}"

    @classmethod
    async def start(cls, location: Path, port: int = 0, *, progress: Callable[[str], None]) -> Azurite:
        """Start Azurite and wait until it answers. ``port`` 0 is any free one.

        ``progress`` gets a line where something takes long. Raises AzuriteError.
        """
        command = await find_or_install(progress)
        _make(location)
        for _ in range(_PORT_TRIES if port == 0 else 1):
            with suppress(_PortTaken):
                return await cls._start_on(command, location, port or _free_port())
        raise AzuriteError(f"Azurite could not be started: port {port or 'after port'} of {HOST} is taken.")

    @classmethod
    async def _start_on(cls, command: tuple[str, ...], location: Path, port: int) -> Azurite:
        log = location / LOG
        with log.open("wb") as out:
            process = await programs.start(
                *command,
                *("--location", str(location), "--blobHost", HOST, "--blobPort", str(port), *_FLAGS),
                cwd=location,
                env=_environment(),
                stdin=PIPE,  # held open: when this process dies, Azurite sees it close
                stdout=out,
                stderr=out,
            )
        azurite = cls(process, port)
        try:
            await azurite._until_it_answers(log)
        except BaseException:
            await azurite.stop()
            raise
        return azurite

    async def stop(self) -> None:
        """End it: SIGTERM, SIGKILL after 5 s. Nothing happens where it ended already."""
        self._signal(signal.SIGTERM)
        await asyncio.wait((self.exited,), timeout=_STOP_S)
        self._signal(signal.SIGKILL)
        await asyncio.wait((self.exited,))
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    async def _until_it_answers(self, log: Path) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            for _ in range(_ANSWER_TRIES):
                if self.exited.done():
                    raise _why_it_ended(log, self.exited.result())
                # its own word first: on this port a stranger could answer
                if "listen" in _said(log, "success") and await self._answers(session):
                    return
                await asyncio.wait((self.exited,), timeout=_ANSWER_PAUSE_S)
        raise AzuriteError(f"Azurite did not answer on {self.blob_url} in time. Its log: {log}")

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.blob_url}?comp=list") as response:
                return "Azurite" in response.headers.get("Server", "")
        except (aiohttp.ClientError, TimeoutError):
            return False


def _environment() -> dict[str, str]:
    """The own environment, without what would give Azurite other accounts, and with the lifeline."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")}
    quoted = str(_LIFELINE).replace("\\", "\\\\").replace('"', '\\"')
    environment["NODE_OPTIONS"] = f'{os.environ.get("NODE_OPTIONS", "")} --require "{quoted}"'.strip()
    return environment


def _make(location: Path) -> None:
    try:
        location.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AzuriteError(f"Azurite cannot keep its data in {location}: {error.strerror}.") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _said(log: Path, word: str) -> str:
    """The lines of the log that hold ``word``."""
    return "\n".join(line for line in log.read_text(errors="replace").splitlines() if word in line)


def _why_it_ended(log: Path, exit_code: int) -> AzuriteError:
    if _said(log, "EADDRINUSE"):
        return _PortTaken()
    last = "\n".join(f"  {line}" for line in log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:])
    return AzuriteError(f"Azurite ended with {exit_code} before it answered.\n{last}")
