"""Programs of this machine, each in a session of its own; whoever waits for one may be cancelled at any moment.

A start by asyncio alone that is cancelled while the pipes are being connected never returns, and what was started
runs on (source: CPython issues 103847 and 125502; mended in late releases of Python 3.13 and 3.14).
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program ended with; -n as the exit code is signal n."""

    exit_code: int
    out: str
    err: str  #: empty where it went to stdout


async def start(*argv: str, **options: Any) -> Process:  # noqa: ANN401 (those of asyncio.create_subprocess_exec)
    """Start a program. If that is cancelled, nothing runs any more. Raises OSError, ValueError."""
    starting = asyncio.create_task(asyncio.create_subprocess_exec(*argv, start_new_session=True, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_started)
        await asyncio.wait((starting,))
        if _is_started(starting):
            await kill(starting.result())
        raise


async def run(*argv: str, **options: Any) -> Ended:  # noqa: ANN401 (those of asyncio.create_subprocess_exec)
    """Run a program to its end. If that is cancelled, it is killed. Raises OSError, ValueError."""
    process = await start(*argv, stdin=DEVNULL, stdout=PIPE, **options)
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        await kill(process)
        raise
    return Ended(process.returncode or 0, _text(out), _text(err))


async def kill(process: Process) -> None:
    """Kill a program and all that it has started in its session, and wait until it is gone."""
    _kill(process)
    await process.communicate()  # unlike wait, it reads what the pipes still hold


def _kill_started(starting: asyncio.Task[Process]) -> None:
    # Also where the wait for it is cancelled in its turn.
    if _is_started(starting):
        _kill(starting.result())


def _is_started(starting: asyncio.Task[Process]) -> bool:
    return not starting.cancelled() and starting.exception() is None


def _kill(process: Process) -> None:
    # PermissionError: macOS says so for a group of which only the unreaped leader is left
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
