"""How a task gets a file of the node cache, and how what it does to the file stays without harm.

clone   where the file system can (XFS, Btrfs): a file of its own, which shares blocks until it is written to.
copy    a file below LINK_BYTES, one placed outside of the task's own folder, one that is wanted with another
        mode, and wherever links cannot be made (a container's own file system): a file of its own.
link    any other: a hard link, with the mode that the manifest says, so that it looks as it would at home.

Only a link can be written through, which permission bits would not hinder root to do. Such a write gives the
file another time than the one all files are stored with, which is noticed at two places:

- before each use: the cache then drops the file (``cache``), so later tasks get the right content;
- after each command: a task whose file was changed while other tasks had it, too, cannot know who was first to
  read or write. It fails, rather than hand on what may come from wrong input. Where no other had the file, the
  task wrote into its own input, harming nobody, and goes on.

Who had the file is told by the number of its links: each task keeps one more, out of the command's sight, from
before the command until after its own check; one that ends in doubt leaves it for the others to see.
"""

from __future__ import annotations

import fcntl
import os
from typing import IO, List, NamedTuple

from .cache import intact
from .download import Wanted, remove_quietly
from .errors import disk_error
from .limits import CHUNK_BYTES, LINK_BYTES
from .md5 import file_md5
from .report import say

#: ioctl number of FICLONE. source: linux/fs.h, _IOW(0x94, 9, int)
FICLONE = 0x40049409


def clone(source: IO[bytes], target: str) -> bool:
    """Make the new file ``target`` share the blocks of ``source``; False where that cannot be."""
    try:
        with open(target, "xb") as stream:
            fcntl.ioctl(stream.fileno(), FICLONE, source.fileno())
    except OSError:
        remove_quietly(target)
        return False
    return True


def copy(source: IO[bytes], target: str) -> None:
    """Write the content of ``source`` to a new file. Raises StageError, NoSpace among them."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    try:
        with open(target, "xb", buffering=0) as stream:
            count = os.readv(source.fileno(), [buffer])
            while count:
                done = 0
                while done < count:
                    done += stream.write(buffer[done:count]) or 0
                count = os.readv(source.fileno(), [buffer])
    except OSError as error:
        remove_quietly(target)
        raise disk_error("cannot write " + target, error) from error


class Link(NamedTuple):
    """A hard link that the command was given at ``target``; ``kept`` is the one out of its sight."""

    wanted: Wanted
    data: str
    kept: str
    temporary: str
    target: str


class Links:
    """The hard links that one task has into the cache; the kept ones are in ``folder``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._links: List[Link] = []

    def __contains__(self, temporary: str) -> bool:
        """Whether a file is a link that ``add`` made at this path."""
        return any(link.temporary == temporary for link in list(self._links))

    def add(self, wanted: Wanted, mode: int, data: str, temporary: str, target: str) -> bool:
        """Link a file of the cache, whose lock is held, to ``temporary``, on its way to ``target``.

        False where it has to be a copy.
        """
        if wanted.size_bytes < LINK_BYTES or not wanted.md5:  # without, nobody can tell whether it was changed
            return False
        link = Link(wanted, data, os.path.join(self._folder, os.path.basename(temporary)), temporary, target)
        try:
            if os.stat(data).st_mode & 0o777 != mode & 0o777:
                return False
            os.makedirs(self._folder, exist_ok=True)
            os.link(data, link.kept)
            os.link(data, temporary)
        except OSError:  # another file system, one without links, one with too many of them
            remove_quietly(link.kept)
            return False
        self._links.append(link)
        return True

    def forget(self, temporary: str) -> None:
        """Undo ``add``, where it made a link."""
        for link in [link for link in self._links if link.temporary == temporary]:
            self._links.remove(link)
            remove_quietly(link.kept)

    def check(self) -> List[str]:
        """After the command: the paths of inputs that were changed while other tasks had them. Raises OSError."""
        changed = [link for link in self._links if _changed(link)]
        in_doubt = [link for link in changed if self._others_have(link)]
        for link in changed:
            if link in in_doubt:
                self._links.remove(link)  # and so its kept link stays, for the others to see
            else:
                say("%s: the command wrote into its input" % link.wanted.path)
        return [link.wanted.path for link in in_doubt]

    def _others_have(self, link: Link) -> bool:
        status = os.stat(link.kept)
        places = {link.data, *(path for mine in self._links for path in (mine.kept, mine.target))}
        return status.st_nlink > sum(_is(path, status) for path in places)

    def remove(self) -> None:
        """Remove the kept links."""
        for link in self._links:
            remove_quietly(link.kept)
        self._links.clear()
        try:
            os.rmdir(self._folder)
        except OSError:
            return  # never made, or something is to be seen by others


def _changed(link: Link) -> bool:
    status = os.stat(link.kept)
    if intact(status, link.wanted):
        return False
    # the command may have given it another time only
    return status.st_size != link.wanted.size_bytes or file_md5(link.kept) != link.wanted.md5


def _is(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), status)
    except OSError:
        return False


def in_doubt_message(paths: List[str]) -> str:
    """Why a task with inputs in doubt fails."""
    problem = (
        "%s: changed while this task and others of the node had it; a rule that writes into its input must copy it"
    )
    return problem % ", ".join(paths)
