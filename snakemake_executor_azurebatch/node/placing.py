"""Gives one file its place in a task: complete under a temporary name first, and never in place of what is not ours."""

from __future__ import annotations

import os
from typing import Callable, Optional, Set

from .download import remove_quietly
from .errors import StageError, disk_error, why
from .limits import STAGED_NS
from .md5 import file_md5
from .protocol import InputFile
from .workspace import Workspace

#: Puts a file to a temporary path, on its way to a target that may be the task's own. True: mode and time must stay.
Put = Callable[[str, str, bool], bool]


def place_at(workspace: Workspace, item: InputFile, put: Put, made: Optional[Set[str]] = None) -> None:
    """Place one input. ``made``: folders that are known to be there, where many files are placed.

    Raises StageError, NoSpace among them.
    """
    target = workspace.locate(item.path)
    own = workspace.owns(target)
    if not own and os.path.lexists(target):
        _accept(item, target)
        return
    folder = os.path.dirname(target)
    if made is None or folder not in made:
        workspace.make_folder(folder)
    if made is not None:
        made.add(folder)
    temporary = os.path.join(folder, ".stage-" + os.urandom(16).hex())
    try:
        if not put(temporary, target, own):
            os.utime(temporary, ns=(STAGED_NS, STAGED_NS))
            os.chmod(temporary, item.mode & 0o777)
        if own:
            os.replace(temporary, target)
        else:
            _link_new(workspace, item, temporary, target)
    except OSError as error:
        raise disk_error("%s: cannot be placed" % item.path, error) from error
    finally:
        remove_quietly(temporary)


def _link_new(workspace: Workspace, item: InputFile, temporary: str, target: str) -> None:
    """Place a file without ever replacing one: another task of this node may place the same."""
    try:
        os.link(temporary, target)
    except OSError:
        if os.path.lexists(target):
            _accept(item, target)
            return
        os.replace(temporary, target)  # a file system without hard links
    workspace.note(target)


def _accept(item: InputFile, target: str) -> None:
    """Use a file that is there already, at an absolute path, if it is the one that is wanted."""
    try:
        same = os.path.getsize(target) == item.size_bytes and file_md5(target) == item.md5
    except OSError as error:
        raise StageError("%s is there already and cannot be read: %s" % (target, why(error))) from error
    if not same:
        raise StageError("%s is there already on the node, with another content" % target)
