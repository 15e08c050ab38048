"""Sources, unpacked once on a node: kept beside their archive in the node cache, copied to each task.

All files and folders of such a tree have the time STAGED_NS. What is written into a file gives it another,
what is added or removed gives its folder another: a tree with another time anywhere is not used.
"""

from __future__ import annotations

import os
import stat
from typing import IO

from .errors import StageError
from .limits import STAGED_NS
from .placer import Placer
from .room import DATA, TREE
from .workspace import Workspace, remove_tree


class Changed(StageError):
    """A tree is not as it was unpacked; nothing was copied."""


def tree_of(data: str) -> str:
    """Where the tree of an archive in the cache is."""
    return data[: -len(DATA)] + TREE


def keep_tree(archive: IO[bytes], data: str) -> bool:
    """Unpack an archive of the cache, unless that was done before; its lock is held. Raises StageError, OSError."""
    tree = tree_of(data)
    if not os.path.isdir(tree):
        from .archive import Unpacker  # tarfile is heavy, and is needed once on each node only

        new = tree + ".new"
        remove_tree(new)  # of a task that died
        os.mkdir(new)
        Unpacker(Placer(new, Workspace(new, "/", new), STAGED_NS)).unpack(data, archive)
        os.utime(new, ns=(STAGED_NS, STAGED_NS))
        os.rename(new, tree)
    return True


def copy_tree(tree: str, placer: Placer) -> None:
    """Copy all of a tree. Raises OSError for one that is removed meanwhile, Changed, other StageErrors."""
    for folder, _, names in os.walk(tree):  # before the first is copied: what was added must not get anywhere
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            if os.lstat(path).st_mtime_ns != STAGED_NS:
                raise Changed("%s was changed on the node" % path)
    _copy_folder(tree, "", placer)
    placer.settle()


def _copy_folder(tree: str, relative: str, placer: Placer) -> None:
    for name in sorted(os.listdir(os.path.join(tree, relative))):
        path = os.path.join(relative, name)
        source, target = os.path.join(tree, path), placer.target(path)
        status = os.lstat(source)
        if stat.S_ISLNK(status.st_mode):
            placer.symbolic_link(target, os.readlink(source))
        elif stat.S_ISDIR(status.st_mode):
            placer.folder(target, status.st_mode)
            _copy_folder(tree, path, placer)
        else:
            _copy_file(source, target, placer)
    _check(os.stat(os.path.join(tree, relative)), tree)


def _copy_file(source: str, target: str, placer: Placer) -> None:
    with open(source, "rb") as stream:

        def again() -> IO[bytes]:
            stream.seek(0)
            return stream

        status = os.fstat(stream.fileno())
        placer.file(target, status.st_mode, status.st_size, again)
        _check(os.fstat(stream.fileno()), source)


def _check(status: os.stat_result, path: str) -> None:
    if status.st_mtime_ns != STAGED_NS:
        raise StageError("%s was changed on the node while it was copied" % path)
