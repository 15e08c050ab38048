"""Where a task runs: at the controller's own path where that can be made anew, else in a tree of its own.

same path   workdir is made by us, with the parents it lacks; paths mean what they mean to the controller.
            So it is in a container whose user may make that folder: root, in most images.
tree        <task directory>/tree/<workdir>; relative paths, ``..`` among them, stay inside of the tree;
            absolute paths mean themselves.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Dict, List, Tuple

from .errors import StageError, why
from .report import say


@dataclass(frozen=True)
class Workspace:
    """One task's places. ``tree`` is empty when the task runs at the controller's own path."""

    task_dir: str  #: Batch's working directory of the task
    logical: str  #: the controller's workdir
    tree: str
    made: List[str] = field(default_factory=list)  #: at the controller's own paths, parents first
    why_tree: str = ""  #: why it does not run at the controller's own path, where it was to
    outside: List[str] = field(default_factory=list)  #: products outside of the workdir; nothing was there before

    @property
    def workdir(self) -> str:
        """Where the command runs."""
        return self.tree + self.logical

    @property
    def sources_root(self) -> str:
        """What the members of a source archive are relative to."""
        return self.tree or "/"

    def locate(self, path: str) -> str:
        """The real place of a path of the manifest. Raises StageError for one that climbs out of the tree."""
        if os.path.isabs(path):
            return os.path.normpath(path)  # the folder of a Snakefile can come as /data/../project
        depth = len([part for part in self.logical.split("/") if part])
        for part in path.split("/"):
            depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
            if depth < 0:
                raise StageError("%s: leads above the root folder" % path)
        return self.tree + os.path.normpath(os.path.join(self.logical, path))

    def owns(self, path: str) -> bool:
        """Whether what is at this real path can only be from this task."""
        return below(path, self.tree or self.logical)

    def check(self, folder: str) -> None:
        """Raise StageError when a folder of ours is a way out, through a symbolic link."""
        if self.owns(folder) and not below(os.path.realpath(folder), self.tree or self.logical):
            raise StageError("%s leads out of the task's folder through a symbolic link" % folder)

    def make_folder(self, folder: str) -> None:
        """Make a folder with its parents, where it is not there yet. Raises StageError."""
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise StageError("cannot make the folder %s: %s" % (folder, why(error))) from error
        self.check(folder)

    def note(self, path: str) -> None:
        """Remember a path that we made, to remove it at the end; only at the controller's own paths.

        In a tree of its own a task places absolute inputs only: these stay, as other tasks of the node may
        have found and be using them.
        """
        if not self.tree and not self.owns(path):
            self.made.append(path)

    def disk_bytes(self) -> int:
        """What the folder that the task runs in takes, each inode once, links into the node cache included."""
        seen: Dict[Tuple[int, int], int] = {}
        for folder, _, names in os.walk(self.tree or self.logical):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                with suppress(OSError):  # something that the command left may still be removing files
                    status = os.lstat(path)
                    seen[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(seen.values())

    def remove(self, everything: bool) -> None:
        """Leave no trace at the controller's own path; with ``everything`` remove the tree, too (best effort)."""
        if not self.tree:
            for path in (self.logical, *self.outside):
                remove_tree(path)
            for path in reversed(self.made):
                with suppress(OSError):  # another task's files may be in a folder by now
                    if os.path.isdir(path) and not os.path.islink(path):
                        os.rmdir(path)
                    else:
                        os.unlink(path)
        elif everything:
            remove_tree(self.tree)


def open_workspace(task_dir: str, logical: str, same_path: bool) -> Workspace:
    """Make the folder that the task runs in. Raises StageError."""
    if not os.path.isabs(logical) or os.path.normpath(logical) != logical:
        raise StageError("the workdir %r is not an absolute, normal path" % logical)
    task_dir = os.path.realpath(task_dir)
    why_tree = ""
    if same_path:
        try:
            return Workspace(task_dir, logical, "", _make_new(logical))
        except StageError as error:
            why_tree = str(error)
            say("%s: running in a tree of its own" % why_tree)
    tree = os.path.join(task_dir, "tree")
    remove_tree(tree)  # a task that Batch starts again on the same node may find its old folder
    workspace = Workspace(task_dir, logical, tree, why_tree=why_tree)
    workspace.make_folder(workspace.workdir)
    return workspace


def _make_new(folder: str) -> List[str]:
    """Make a folder that must be new; the parents that were made. Raises StageError where it cannot be."""
    missing: List[str] = []
    parent = os.path.dirname(folder)
    while not os.path.lexists(parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    try:
        os.makedirs(folder)
    except OSError as error:
        for part in reversed(missing):
            with suppress(OSError):
                os.rmdir(part)
        if isinstance(error, FileExistsError):
            raise StageError("the folder %s is there already" % folder) from error
        raise StageError("user %d cannot make the folder %s: %s" % (os.getuid(), folder, error.strerror)) from error
    if os.path.realpath(folder) != folder:  # the path would not mean the same
        remove_tree(folder)
        raise StageError("a symbolic link is on the way to %s" % folder)
    return missing


def remove_tree(folder: str) -> None:
    """Remove a folder (or file) as far as possible, its read-only parts too; say what stays."""
    if not os.path.lexists(folder):
        return
    if os.path.islink(folder) or not os.path.isdir(folder):
        with suppress(OSError):
            os.unlink(folder)
        return
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)
    if os.path.isdir(folder):
        os.chmod(folder, stat.S_IRWXU)
        for base, names, _ in os.walk(folder):
            for path in (os.path.join(base, name) for name in names):
                if not os.path.islink(path):
                    with suppress(OSError):
                        os.chmod(path, stat.S_IRWXU)
        rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        say("could not remove %s" % folder)


def below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it, going by the names alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
