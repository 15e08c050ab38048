"""Which runs of a workdir are alive, and what each of them has: a Batch job with its tasks, a line of a lease.

Snakemake's lock is one on files: runs that make other files are alive in the same folder at the same time. So each run
claims what it has, and what a run that is dead has had can be claimed by one other run.

A claim is a file that its process has locked: the kernel gives the lock back, however the process ends. It is a POSIX
lock, which no child process inherits. SQLite needs the same ones: where they do not work there is no ledger either,
so that nothing could be taken over there anyway. Some file systems keep locks to each machine (source: documentation
of Lustre, "localflock"; of BeeGFS, "tuneUseGlobalFileLocks"; nfs(5), "local_lock"). Therefore a claim names its machine
and is touched every BEAT_S: one of another machine is free when it was not touched for SILENT_S.
"""

from __future__ import annotations

import fcntl
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_S = 60.0
SILENT_S = 200.0  #: three beats, and some time for what file servers remember
LOOK_EVERY_S = 1.0

#: Names this start of the system's kernel, which is as far as every lock reaches (source: random(4)).
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_machine() -> str:
    """What all processes have in common that see each other's locks for sure."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return platform.node()


class Claims:
    """Those of one run, from ``enter`` to ``close``. Usable from any thread. Names are file names."""

    def __init__(
        self, folder: Path, say: Callable[[str], None], *, machine: str | None = None, silent_s: float = SILENT_S
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._gate_file = folder.with_name(f"{folder.name}.lock")
        self._say = say
        self._machine = machine if machine is not None else this_machine()
        self._silent_s = silent_s
        self._held: dict[str, int] = {}
        self._others: set[str] = set()  #: what living runs had when this one began; they may have ended it since
        self._lock = threading.Lock()
        self._works = True
        self._living: set[str] = set()  #: signatures of runs on other machines that were seen to be alive

    def enter(self, run_id: str, *, takes_over: bool) -> None:
        """Be seen from now on. With ``takes_over``, claim all that dead runs have had.

        Waits for runs that just do so, for one that removes blobs, and until it is known whether a run is alive.
        """
        with self._gate():
            taken = [self.take(name) for name in self._names()] if takes_over else []
            if not all(taken):
                self._say("Another run is alive in this folder: what it has on Azure Batch is left alone.")
            self.take(f"run-{run_id}")

    def take(self, name: str) -> bool:
        """Whether this run has it now, and nobody else."""
        with self._lock:
            if name in self._others:
                return False
            is_held = self._take(name, waits=True)
            if not is_held:
                self._others.add(name)
            return is_held

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other run is alive; if so, none begins meanwhile."""
        with self._gate(), self._lock:
            before = set(self._held)
            try:
                yield all(self._take(name, waits=False) for name in self._names()) and self._works
            finally:
                self._give_back(self._held.keys() - before)

    def beat(self) -> None:
        """Show machines that do not see the locks that this run is alive."""
        with self._lock:
            for number in self._held.values():
                with suppress(OSError):
                    os.utime(number)

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._give_back(set(self._held))

    def _give_back(self, names: AbstractSet[str]) -> None:
        for name in names:
            number = self._held.pop(name)
            with suppress(OSError):  # before the lock goes: by then the name may be another run's
                (self._folder / name).unlink()
            os.close(number)

    def _names(self) -> list[str]:
        """Of all claims that there are. Names with a dot are what NFS makes of a file that is removed while open."""
        try:
            return sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            self._give_up(error)
            return []

    def _take(self, name: str, *, waits: bool) -> bool:
        if name in self._held:
            return True
        if not self._works:
            return False
        path = self._folder / name
        try:
            number = _locked(path)
            if number is None:
                return False
            if self._is_of_living(path, number, waits=waits):
                os.close(number)
                return False
            self._sign(number)
        except OSError as error:
            self._give_up(error)
            return False
        self._held[name] = number
        return True

    def _is_of_living(self, path: Path, number: int, *, waits: bool) -> bool:
        """Whether a claim, whose lock this run could get, is of a run on a machine whose locks are not seen here."""
        signature = os.pread(number, 1000, 0).decode(errors="replace")
        machine, host = (*signature.split("\n"), "", "")[:2]
        if not machine or machine == self._machine:
            return False
        if signature in self._living:
            return True
        beaten_s, left_s = os.fstat(number).st_mtime, self._silent_s - self._age_s(number)
        if left_s <= 0 or not waits:
            return left_s > 0
        self._say(f"Waiting for up to {left_s:.0f} s to see whether the run on {host} that had {path.name} is alive.")
        ends_s = time.monotonic() + left_s
        while time.monotonic() < ends_s:
            time.sleep(min(LOOK_EVERY_S, self._silent_s / 10))
            if not path.exists() or path.stat().st_mtime != beaten_s:
                self._living.add(signature)
                return True
        return False

    def _age_s(self, number: int) -> float:
        """How long ago a claim was touched, by the clock of the file system."""
        os.utime(self._gate_file)
        return self._gate_file.stat().st_mtime - os.fstat(number).st_mtime

    def _sign(self, number: int) -> None:
        os.ftruncate(number, 0)
        os.pwrite(number, f"{self._machine}\n{platform.node()}\n{os.getpid()}\n".encode(), 0)
        os.fsync(number)  # to be read on other machines

    def _give_up(self, error: OSError) -> None:
        if self._works:
            self._works = False
            self._say(
                f"Warning: files in {self._folder} cannot be locked ({error.strerror or error}): what runs that were "
                "killed have left is not taken over, and no blobs are removed, since other runs may be alive."
            )

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """One process at a time, as far as locks reach."""
        number = -1
        try:
            number = os.open(self._gate_file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                self._say("Waiting for another run in this folder, which is beginning or removes blobs.")
                fcntl.lockf(number, fcntl.LOCK_EX)
        except OSError as error:
            self._give_up(error)
        try:
            yield
        finally:
            if number >= 0:
                os.close(number)


def _locked(path: Path) -> int | None:
    """The file's descriptor, locked; None where another process has it. Raises OSError.

    Not for a file that this process has: closing any descriptor of a file gives all its locks there back.
    """
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # of a user who shares nothing else in this folder either
            return None
        try:
            fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(path, number):
                return number
        except (BlockingIOError, PermissionError):
            os.close(number)
            return None
        except OSError:
            os.close(number)
            raise
        os.close(number)  # its last holder has removed it meanwhile


def _is_there(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False
