"""SIGTERM and SIGINT: handed to the command while it runs, else the end of what the stager does.

The stager works in a thread of its own, while the main one waits for its end and for signals. A handler that raised
in the midst of the work would do so anywhere, also where a lock has just been taken that nobody would free.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import Callable, Iterator, List, Optional

from .errors import Stopped
from .report import say

#: How long a command that was told to stop may take, before it is killed: a spot node that is taken away gives
#: 30 s in all, and logs are still to be stored.
GRACE_S = 10.0
#: How long what a command left running may take to end by itself: bash does not wait for ``>(...)``, which may
#: still be writing an output.
LINGER_S = 10.0
#: How long staging that is to be given up may take to do so: a transfer that is under way is not broken off.
LEAVE_S = 5.0
POLL_S = 0.02


class Signals:
    """One task's signals. ``stopping`` is set when transfers are to be given up."""

    def __init__(self, grace_s: float = GRACE_S, linger_s: float = LINGER_S, leave_s: float = LEAVE_S) -> None:
        self.received: Optional[int] = None  #: the first signal
        self.stopping = threading.Event()
        self.left_behind = False  #: the work goes on, though nobody waits for it any more
        self._grace_s = grace_s
        self._linger_s = linger_s
        self._leave_s = leave_s
        self._bell, self._rope = -1, -1  #: the two ends of a pipe: a signal writes its number, the end of the work a 0
        self._lock = threading.Lock()  #: of what follows
        self._ended = False  #: nobody attends to the work any more
        self._running = False
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._killer: Optional[threading.Timer] = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over SIGTERM and SIGINT of this process, for ``attend`` to see to; after it they are ignored.

        For the main thread only.
        """
        self._bell, self._rope = os.pipe()
        os.set_blocking(self._rope, False)
        signal.set_wakeup_fd(self._rope, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda _signum, _frame: None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            rope, self._rope = self._rope, -1
            os.close(rope)
            os.close(self._bell)

    def attend(self, work: Callable[[], None]) -> None:
        """Have the work done, and see to signals until it ends. What comes later interrupts only other such work.

        Raises what the work raises, and Stopped where that is because it was told to stop, or where it goes on
        although it was: it is left behind then, and the process has to be ended by ``os._exit``.
        """
        errors: List[Optional[BaseException]] = []

        def do() -> None:
            try:
                work()
                errors.append(None)
            except BaseException as error:  # noqa: BLE001  raised by the one who waits
                errors.append(error)
            with suppress(BlockingIOError):  # the bell has been rung often enough
                os.write(self._rope, b"\0")

        threading.Thread(target=do, daemon=True).start()
        self._attend_until(errors)
        told = self.stopping.is_set()
        with self._lock:
            self._ended = True
            self.stopping.clear()
        self.left_behind |= not errors
        error = errors[0] if errors else None
        if told and (error is not None or self.left_behind):
            raise Stopped(self.received or 0) from error
        if error is not None:
            raise error

    def _attend_until(self, ends: List[Optional[BaseException]]) -> None:
        until: Optional[float] = None
        while not ends:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._bell], [], [], left_s)[0]:
                return
            for signum in filter(None, os.read(self._bell, 64)):
                self._on_signal(signum)
            if until is None and self.stopping.is_set():
                until = time.monotonic() + self._leave_s

    def check(self) -> None:
        """Raise Stopped where the work is to be given up."""
        if self._ended or self.stopping.is_set():
            raise Stopped(self.received or 0)

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> int:
        """Start a command, a session of its own, and wait for it. Negative: it ended by that signal. Raises Stopped."""
        with self._lock:
            self.check()
            self._running = True
        try:
            child = start()
            with self._lock:
                self._child = child
                if self.received is not None:  # came while it was starting
                    self._pass_on(self.received)
            code = _wait(child)
            self._settle(child.pid)
            return code
        finally:
            with self._lock:
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
        self._kill()
        self._ends(group, self._grace_s)

    def _ends(self, group: int, most_s: float) -> bool:
        """Whether all of a process group ends within this time, and before another signal comes."""
        until, received = time.monotonic() + most_s, self.received
        while _runs(group):
            if time.monotonic() >= until or self.received != received:
                return False
            time.sleep(POLL_S)
        return True

    def _on_signal(self, signum: int) -> None:
        with self._lock:
            is_first, self.received = self.received is None, self.received or signum
            if not self._running:
                if is_first:
                    self.stopping.set()
            elif self._child is not None:
                self._pass_on(signum)

    def _pass_on(self, signum: int) -> None:
        self._signal_all(signum)
        if self._killer is None:
            self._killer = threading.Timer(self._grace_s, self._kill)
            self._killer.daemon = True
            self._killer.start()

    def _kill(self) -> None:
        with self._lock:
            self._signal_all(signal.SIGKILL)

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
