"""What can go wrong on a node, apart from bugs."""

from __future__ import annotations

import errno
from typing import Optional, Sequence

from .protocol import REASON_NO_SPACE, REASON_UNREACHABLE

FULL = (errno.ENOSPC, errno.EDQUOT)  #: of a disk, or of what a user may have of it


class StageError(Exception):
    """A file could not be staged, or the task could not be set up. The message is for the user."""


class NoSpace(StageError):
    """The disk is full. It may help to remove files of the node cache and to try again."""


class MissingOutput(StageError):
    """The command left without making required outputs (or made a folder for a file). ``paths`` names them."""

    def __init__(self, message: str, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        super().__init__(message)


class Stopped(Exception):
    """The task was told to stop by a signal, outside of the command."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__("stopped by signal %d" % signum)


def reason_of(error: BaseException) -> str:
    """One of protocol.REASON_*, or nothing; what an error was raised from counts, too."""
    seen: Optional[BaseException] = error
    while seen is not None:
        if isinstance(seen, NoSpace) or (isinstance(seen, OSError) and seen.errno in FULL):
            return REASON_NO_SPACE
        if getattr(seen, "is_passing", False):
            return REASON_UNREACHABLE
        seen = seen.__cause__
    return ""


def why(error: BaseException) -> str:
    """An error in words. Only an OSError's own sentence: it names files, never a URL."""
    if isinstance(error, OSError):
        name = ": %s" % error.filename if error.filename else ""
        return (error.strerror or type(error).__name__) + name
    return str(error) or type(error).__name__


def disk_error(what: str, error: OSError) -> StageError:
    """An error of the disk as one of staging: NoSpace for a full disk or quota."""
    if error.errno in FULL:
        return NoSpace("%s: no space left on the node's disk" % what)
    return StageError("%s: %s" % (what, why(error)))
