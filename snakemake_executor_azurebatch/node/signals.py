"""SIGTERM and SIGINT: handed to the command while it runs, else the end of what the stager does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import Callable, Optional

from .errors import Stopped
from .report import say

#: How long a command that was told to stop may take, before it is killed: a spot node that is taken away gives
#: 30 s in all, and logs are still to be stored.
GRACE_S = 10.0
#: How long what a command left running may take to end by itself: bash does not wait for ``>(...)``, which may
#: still be writing an output.
LINGER_S = 10.0
POLL_S = 0.02


class Signals:
    """One task's signals. ``stopping`` is set when transfers are to be given up."""

    def __init__(self, grace_s: float = GRACE_S, linger_s: float = LINGER_S) -> None:
        self.received: Optional[int] = None  #: the first signal
        self.stopping = threading.Event()
        self._grace_s = grace_s
        self._linger_s = linger_s
        self._running = False
        self._shielded = False
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._killer: Optional[threading.Timer] = None

    def install(self) -> None:
        """Take over SIGTERM and SIGINT of this process."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def shield(self) -> None:
        """From now on nothing is interrupted: what is left to do is short and matters."""
        self._shielded = True
        self.stopping.clear()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> int:
        """Start a command, a session of its own, and wait for it. Negative: it ended by that signal."""
        self._running = True
        try:
            self._child = start()
            if self.received is not None:  # came while it was starting
                self._pass_on(self.received)
            code = _wait(self._child)
            self._settle(self._child.pid)
            return code
        finally:
            self._running = False
            self._child = None
            if self._killer is not None:
                self._killer.cancel()

    def _settle(self, group: int) -> None:
        """See to it that nothing of the command goes on writing while files are stored."""
        if self.received is None:
            if self._ends(group, self._linger_s):
                return
            say("killing what the command left running")
        self._signal_all(signal.SIGKILL)
        self._ends(group, self._grace_s)

    def _ends(self, group: int, most_s: float) -> bool:
        """Whether all of a process group ends within this time, and before another signal comes."""
        until, received = time.monotonic() + most_s, self.received
        while _runs(group):
            if time.monotonic() >= until or self.received != received:
                return False
            time.sleep(POLL_S)
        return True

    def _on_signal(self, signum: int, _frame: object) -> None:
        first, self.received = self.received is None, self.received or signum
        if self._running:
            if self._child is not None:
                self._pass_on(signum)
        elif first and not self._shielded:
            self.stopping.set()
            raise Stopped(signum)

    def _pass_on(self, signum: int) -> None:
        self._signal_all(signum)
        if self._killer is None:
            self._killer = threading.Timer(self._grace_s, self._signal_all, [signal.SIGKILL])
            self._killer.daemon = True
            self._killer.start()

    def _signal_all(self, signum: int) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signum)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the command. The first process of a container gets its orphans, too, and has to reap them."""
    while os.getpid() == 1 and child.returncode is None:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            child.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return child.wait()


def _runs(group: int) -> bool:
    """Whether a process group has processes. Those that ended are reaped where they became ours, as in containers."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            continue
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _any_alive(group)


def _any_alive(group: int) -> bool:
    """Whether a process group has other processes than such that nobody has reaped yet. True where not known."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:  # macOS
        return True
    for pid in pids:
        with suppress(OSError, ValueError):  # it has just ended
            with open("/proc/%s/stat" % pid, "rb") as stream:
                state, _parent, its_group = stream.read().rpartition(b")")[2].split()[:3]
            if int(its_group) == group and state not in (b"Z", b"X"):
                return True
    return not pids
