"""Memory and processor time of a task: all its processes together, looked at in ``/proc`` while they live.

A process is a task's when its environment says so (AZ_BATCH_TASK_DIR), or an ancestor's does: in a container, in
a session of its own, or neither. Where there is no ``/proc`` (macOS) nothing is seen.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_PERIOD_S = 1.0
#: A task is looked at early and often at first: most are short.
_FIRST_PERIOD_S = 0.2
_FIRST_LOOKS = 5
_VARIABLE = b"AZ_BATCH_TASK_DIR="


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used at most. None: nothing was seen."""

    peak_memory_bytes: int | None = None
    cpu_s: float | None = None

    def at_least(self, other: Usage) -> Usage:
        """The larger of both, each."""
        memory = [value for value in (self.peak_memory_bytes, other.peak_memory_bytes) if value is not None]
        cpu = [value for value in (self.cpu_s, other.cpu_s) if value is not None]
        return Usage(max(memory, default=None), max(cpu, default=None))


class Meter:
    """Watches the tasks of this process, one look a second for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._watches: dict[bytes, _Watch] = {}
        self._thread: threading.Thread | None = None
        self._processes = Processes()

    def watch(self, directory: Path) -> None:
        """Begin with the task whose AZ_BATCH_TASK_DIR is ``directory``."""
        with self._lock:
            self._watches[os.fsencode(directory)] = _Watch()
            if self._thread is None and _PROC.is_dir():
                self._thread = threading.Thread(target=self._look_again, name="task-usage", daemon=True)
                self._thread.start()
        self._woken.set()

    def seen(self, directory: Path) -> Usage:
        """What was seen so far of a watched task."""
        with self._lock:
            watch = self._watches.get(os.fsencode(directory))
        return watch.usage if watch is not None else Usage()

    def end(self, directory: Path) -> Usage:
        """What was seen of it."""
        with self._lock:
            watch = self._watches.pop(os.fsencode(directory), None)
        self._woken.set()
        return watch.usage if watch is not None else Usage()

    def _look_again(self) -> None:
        while True:
            with self._lock:
                watches = dict(self._watches)
                if not watches:
                    self._thread = None
                    return
            is_new = any(watch.looks < _FIRST_LOOKS for watch in watches.values())
            if self._woken.wait(_FIRST_PERIOD_S if is_new else _PERIOD_S):
                self._woken.clear()
                continue
            seen = self._processes.used_by(set(watches))
            for directory, watch in watches.items():
                watch.looks += 1
                watch.usage = watch.usage.at_least(seen.get(directory, Usage()))


@dataclass(slots=True)
class _Watch:
    usage: Usage = field(default_factory=Usage)
    looks: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    key: tuple[int, int]  # id and start time: an id is used again
    program: bytes  # tells the program that it runs from the one before: where the environment lies in memory
    parent: int
    memory_bytes: int
    cpu_s: float


class Processes:
    """The machine's processes, and what is remembered of whose they are."""

    def __init__(self) -> None:
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._owners: dict[tuple[int, int], bytes] = {}
        self._strangers: dict[tuple[int, int], bytes] = {}  # and the program that said nothing of a task

    def used_by(self, directories: set[bytes]) -> dict[bytes, Usage]:
        """Memory and processor time now, of each task that has processes."""
        seen = self._look()
        memory: dict[bytes, int] = {}
        cpu: dict[bytes, float] = {}
        for process in seen.values():
            owner = self._owner(process, seen, directories)
            if owner is not None:
                memory[owner] = memory.get(owner, 0) + process.memory_bytes
                cpu[owner] = cpu.get(owner, 0.0) + process.cpu_s
        self._forget(seen)
        return {owner: Usage(memory[owner], cpu[owner]) for owner in memory}

    def _look(self) -> dict[int, _Seen]:
        found = {}
        for name in os.listdir(_PROC):  # noqa: PTH208 - hundreds of them each second
            if name.isdigit():
                with suppress(OSError):  # it is gone
                    found[int(name)] = self._parse(int(name), (_PROC / name / "stat").read_bytes())
        return found

    def _parse(self, pid: int, stat: bytes) -> _Seen:
        """source: proc(5); what follows the name, which can hold anything, is counted from its end."""
        fields = stat.rpartition(b")")[2].split()
        ticks = sum(int(field) for field in fields[11:15])  # its own and of children it has waited for
        memory_bytes = max(0, int(fields[21])) * self._page_bytes
        program = b" ".join(fields[47:49])  # env_start, env_end
        return _Seen((pid, int(fields[19])), program, int(fields[1]), memory_bytes, ticks / self._ticks_per_s)

    def _owner(self, process: _Seen | None, seen: Mapping[int, _Seen], directories: set[bytes]) -> bytes | None:
        for _ in range(len(seen)):
            if process is None:
                return None
            own = self._own(process)
            if own in directories:
                return own
            process = seen.get(process.parent)
        return None

    def _own(self, process: _Seen) -> bytes | None:
        """What the process's environment says, read again whenever it runs another program.

        A container's first process is the engine's own until all is set up, and has a task's environment only then.
        """
        key = process.key
        if key in self._owners or self._strangers.get(key) == process.program:
            return self._owners.get(key)
        environment = b""
        with suppress(OSError):  # it is gone, or another user's
            environment = (_PROC / str(key[0]) / "environ").read_bytes()
        for entry in environment.split(b"\0"):
            if entry.startswith(_VARIABLE):
                self._owners[key] = entry.removeprefix(_VARIABLE)
                return self._owners[key]
        self._strangers[key] = process.program
        return None

    def _forget(self, seen: Mapping[int, _Seen]) -> None:
        keys = {process.key for process in seen.values()}
        self._owners = {key: owner for key, owner in self._owners.items() if key in keys}
        self._strangers = {key: program for key, program in self._strangers.items() if key in keys}


#: One for all nodes of this process.
METER = Meter()
