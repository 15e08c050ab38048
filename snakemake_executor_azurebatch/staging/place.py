"""Putting a finished file or folder under its final name, and getting rid of what was there.

What is being fetched has a temporary name beside its final one, so that the last step is a rename within
one file system. The name says which process made it: what a killed one has left is removed by the next that
puts something into the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import platform
import re
import shutil
import stat
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.staging.progress import amount

TEMPORARY_PREFIX = ".smk-"
#: What the system says where a folder would have to be replaced, or replaces something, which no single step can do.
_NOT_REPLACED = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)
_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{32}\.part")

#: Of names that this process makes: no two processes have the same, and no name comes twice.
_PROCESS, _NUMBERS = uuid.uuid4().hex[:16], itertools.count()

_swept: set[Path] = set()
_sweeping = threading.Lock()


def beside(target: Path) -> Path:
    """A new temporary name in the folder of ``target``, which is made where it is missing."""
    folder = target.parent
    if not folder.is_dir():  # asked first: nearly always it is there
        folder.mkdir(parents=True, exist_ok=True)
    _sweep_once(folder)
    # Not made from the target's own name: that may be as long as the file system allows.
    return folder / f"{TEMPORARY_PREFIX}{_host()}-{os.getpid()}-{_PROCESS}{next(_NUMBERS):016x}.part"


def write_new(path: Path, content: bytes | memoryview, mode: int) -> None:
    """Write a file that is not there yet, with these permission bits. Raises OSError.

    By as few calls of the system as there can be: for each of them the interpreter lets other threads run.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(number, rest) :]
        if stat.S_IMODE(os.fstat(number).st_mode) != mode:  # by the process's umask
            os.fchmod(number, mode)
    finally:
        os.close(number)


@contextlib.contextmanager
def writing(path: str, target: Path) -> Iterator[None]:
    """Say in words why ``path``, on its way to ``target``, cannot be written."""
    try:
        yield
    except OSError as error:
        raise StagingError(f"{path} cannot be written here: {why_not_written(error, target)}") from error


def why_not_written(error: OSError, target: Path) -> str:
    """Why ``target`` could not be written, in words; a full disk is named."""
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return reason
    folder = Path(os.path.realpath(target.parent))
    while not (folder.is_dir() and folder.is_mount()):
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    return f"{reason} (the disk at {folder} has {amount(disk.free)} free of {amount(disk.total)})"


def _sweep_once(folder: Path) -> None:
    """Remove what processes of this machine have left here that live no more; looks into each folder once."""
    with _sweeping:
        if folder in _swept:
            return
        _swept.add(folder)
        with os.scandir(folder) as items:
            left = [item.path for item in items if _is_left(item.name)]
        for path in left:
            with contextlib.suppress(OSError):  # it disturbs nobody
                discard(Path(path))


def _is_left(name: str) -> bool:
    made = _TEMPORARY.fullmatch(name)
    if made is None or made["host"] != _host():
        return False
    try:
        os.kill(int(made["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


@functools.cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def put_in_place(finished: Path, target: Path) -> None:
    """Rename ``finished`` to ``target``, replacing whatever is there (a link itself, not what it leads to)."""
    try:
        finished.replace(target)
    except OSError as error:
        if error.errno not in _NOT_REPLACED:
            raise
        _replace_aside(finished, target)


def _replace_aside(finished: Path, target: Path) -> None:
    """What is there goes aside, and away once the new one stands."""
    aside = beside(target)
    target.rename(aside)
    try:
        finished.rename(target)
    except OSError:
        aside.rename(target)
        raise
    discard(aside)


def discard(path: Path) -> None:
    """Remove a file, link or folder, write-protected ones too; nothing there is fine."""
    if not _is_real_directory(path):
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        for folder, names, _ in os.walk(path):
            for inner in (Path(folder, name) for name in names):
                if not inner.is_symlink():
                    inner.chmod(stat.S_IRWXU)
        shutil.rmtree(path)


def set_times(path: Path, time_ns: int) -> None:
    """Give ``path``, and all that is in it where it is a folder, one modification time (links: their own)."""
    if _is_real_directory(path):
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                os.utime(Path(folder, name), ns=(time_ns, time_ns), follow_symlinks=False)
            os.utime(folder, ns=(time_ns, time_ns))
    else:
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def _is_real_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
