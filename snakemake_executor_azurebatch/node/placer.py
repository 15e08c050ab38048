"""Puts files, folders and links below a folder, never replacing or leaving what is not the task's own."""

from __future__ import annotations

import os
from typing import IO, Callable, Dict, Optional, Protocol, Set

from .errors import StageError
from .limits import CHUNK_BYTES

Open = Callable[[], Optional[IO[bytes]]]


class Ground(Protocol):
    """Where things are placed: a workspace."""

    def owns(self, path: str) -> bool:
        """Whether what is at a path may be replaced; elsewhere it must be the same already."""

    def check(self, folder: str) -> None:
        """Called with each folder before something is put into it. Raises StageError to forbid it."""

    def note(self, path: str) -> None:
        """Called with each path that was made."""


class Placer:
    """Places below ``root``; everything gets the modification time ``time_ns``. May be asked for the same again.

    All methods raise StageError for what may not be, and OSError.
    """

    def __init__(self, root: str, ground: Ground, time_ns: int) -> None:
        self._root = root
        self._ground = ground
        self._time_ns = time_ns
        self._checked: Set[str] = set()
        self._folders: Dict[str, int] = {}  # made here, with their final modes

    def target(self, name: str) -> str:
        """Where something of this name goes. Raises StageError for a name that would leave the root."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise StageError("archive member %s is outside of the archive's folder" % name)
        return os.path.join(self._root, *parts) if parts else self._root

    def file(self, target: str, mode: int, size_bytes: int, opened: Open) -> None:
        """Place a file; ``opened`` gives its content each time that it is called."""
        self.folder(os.path.dirname(target))
        if self._free(target, lambda: _same_file(target, size_bytes, opened)):
            source = opened()
            with open(target, "xb") as stream:
                for chunk in iter(lambda: source.read(CHUNK_BYTES) if source else b"", b""):
                    stream.write(chunk)
            os.chmod(target, mode & 0o777)
            os.utime(target, ns=(self._time_ns, self._time_ns))

    def symbolic_link(self, target: str, to: str) -> None:
        """Place a symbolic link."""
        self.folder(os.path.dirname(target))
        if self._free(target, lambda: os.path.islink(target) and os.readlink(target) == to):
            os.symlink(to, target)
            os.utime(target, ns=(self._time_ns, self._time_ns), follow_symlinks=False)

    def hard_link(self, target: str, source: str) -> None:
        """Place another name of a file that was placed before."""
        self.folder(os.path.dirname(target))
        self._ground.check(os.path.realpath(os.path.dirname(source)))
        if self._free(target, lambda: os.path.samefile(source, target)):
            os.link(source, target, follow_symlinks=False)

    def folder(self, path: str, mode: Optional[int] = None) -> None:
        """Place a folder, with those above it."""
        if not os.path.isdir(path):
            self.folder(os.path.dirname(path))
            os.mkdir(path)
            self._ground.note(path)
            self._folders[path] = 0o755 if mode is None else mode
        elif mode is not None and path in self._folders:
            self._folders[path] = mode
        if path not in self._checked:
            self._ground.check(path)
            self._checked.add(path)

    def settle(self) -> None:
        """Give the folders their times and modes, last of all: one may end read-only."""
        for path, mode in reversed(list(self._folders.items())):  # children first
            os.utime(path, ns=(self._time_ns, self._time_ns))
            os.chmod(path, mode & 0o777)

    def _free(self, target: str, same: Callable[[], bool]) -> bool:
        """Whether to put something at the target; False where the same is there. Raises StageError."""
        if not os.path.lexists(target):
            self._ground.note(target)
            return True
        if same():
            return False
        if not self._ground.owns(target) or (os.path.isdir(target) and not os.path.islink(target)):
            raise StageError("%s is there already and differs" % target)
        os.unlink(target)
        return True


def _same_file(path: str, size_bytes: int, opened: Open) -> bool:
    if not os.path.isfile(path) or os.path.getsize(path) != size_bytes:
        return False
    source = opened()
    if source is None:
        return False
    with open(path, "rb") as stream:
        for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
            if stream.read(len(chunk)) != chunk:
                return False
    return True
