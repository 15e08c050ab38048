"""Processes of tasks that left their group or session, found by a variable that every process of a task inherits.

Works where there is ``/proc`` (Linux); elsewhere nothing is found.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

_PROC = Path("/proc")
#: A process can fork while it is looked for.
_SWEEPS = 5
#: A killed process is gone within milliseconds; one that waits for a device that never answers is not waited for.
_GONE_WITHIN_S = 5.0


def kill_strays_of_task(directory: Path, session: int) -> None:
    """Kill every process whose AZ_BATCH_TASK_DIR is ``directory``, or that is in ``session``, and see them gone."""
    _kill(f"AZ_BATCH_TASK_DIR={directory}\0", session)


def kill_strays_of_nodes(nodes_dir: Path) -> None:
    """Kill every process whose node root is below ``nodes_dir``: what a killed service left behind."""
    _kill(f"AZ_BATCH_NODE_ROOT_DIR={nodes_dir}/", None)


def _kill(beginning: str, session: int | None) -> None:
    for _ in range(_SWEEPS):
        pids = list(_found(b"\0" + os.fsencode(beginning), session))
        if not pids:
            return
        _end(pids)


def _end(pids: list[int]) -> None:
    """Kill the processes and wait until each has ended (a zombie has): a signal alone returns before that."""
    give_up = time.monotonic() + _GONE_WITHIN_S
    with ExitStack() as stack:
        handles = []
        for pid in pids:
            with suppress(OSError):  # it is gone, or another user's
                handles.append(os.pidfd_open(pid))
                stack.callback(os.close, handles[-1])
                signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
        for handle in handles:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll(max(0.0, give_up - time.monotonic()) * 1000)


def _found(beginning: bytes, session: int | None) -> Iterator[int]:
    own = os.getpid()
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        with suppress(OSError):  # it is gone, or another user's
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and (int(its_session) == session or beginning in b"\0" + (entry / "environ").read_bytes()):
                yield int(entry.name)
