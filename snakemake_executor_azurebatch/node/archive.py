"""Folders as tar archives: written in a fixed order, unpacked with care.

Written: POSIX (pax) tar; names relative to the folder, sorted; permission bits, symbolic links and empty
folders kept; no owners, no times (a folder with the same content gives the same bytes); hard links as
files of their own; sockets, pipes and devices left out, since nothing of them could be used elsewhere.

Read: the same, and hard links; names must stay below the folder they are unpacked to; symbolic links are
made last, so that nothing is written through one of the archive's own.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import IO, Iterator, List, Optional, Protocol, Tuple, cast

from .errors import StageError, disk_error, why
from .limits import CHUNK_BYTES
from .placer import Placer
from .report import say

#: What one member costs in an archive at most, apart from its content: headers for long names, padding.
MEMBER_BYTES = 8 * 1024


def walk(folder: str) -> Iterator[Tuple[str, os.stat_result]]:
    """Everything below a folder, as (relative path, status), parents first, sorted. Raises OSError."""
    pending = [""]
    while pending:
        relative = pending.pop()
        paths = [os.path.join(relative, name) for name in sorted(os.listdir(os.path.join(folder, relative)))]
        entries = [(path, os.lstat(os.path.join(folder, path))) for path in paths]
        yield from entries
        pending += [path for path, status in reversed(entries) if stat.S_ISDIR(status.st_mode)]


def packed_size(folder: str) -> int:
    """At least the size that the folder will have as an archive, in bytes. Raises OSError."""
    return sum(MEMBER_BYTES + status.st_size for _, status in walk(folder)) + MEMBER_BYTES


def pack(folder: str, target: Sink) -> None:
    """Write the folder's content to ``target``, which needs ``write`` only. Raises OSError, StageError."""
    with tarfile.open(
        fileobj=cast("IO[bytes]", target),  # a stream is only written to
        mode="w|",
        bufsize=CHUNK_BYTES,
        format=tarfile.PAX_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    ) as tar:
        for relative, status in walk(folder):
            info = _info(tar, folder, relative, status)
            if info is None:
                say("left out %s: neither file, folder nor link" % os.path.join(folder, relative))
            elif info.isreg():
                _add_file(tar, info, os.path.join(folder, relative))
            else:
                tar.addfile(info)


def _info(tar: tarfile.TarFile, folder: str, relative: str, status: os.stat_result) -> Optional[tarfile.TarInfo]:
    kind = stat.S_IFMT(status.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return None
    info = tar.tarinfo(relative)
    info.mode = stat.S_IMODE(status.st_mode)
    if kind == stat.S_IFDIR:
        info.type = tarfile.DIRTYPE
    elif kind == stat.S_IFLNK:
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(os.path.join(folder, relative))
        info.mode = 0o777
    else:
        info.size = status.st_size
    return info


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
    with open(path, "rb") as stream:
        tar.addfile(info, stream)
        if os.fstat(stream.fileno()).st_size != info.size:
            raise StageError("%s changed while it was read" % path)


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take them all."""


class Unpacker:
    """Unpacks archives to where a placer puts things."""

    def __init__(self, placer: Placer) -> None:
        self._placer = placer

    def unpack(self, archive: str, stream: Optional[IO[bytes]] = None) -> None:
        """Unpack a tar file, compressed or not; ``stream`` is it, opened. Can be repeated. Raises StageError."""
        later: List[tarfile.TarInfo] = []
        try:
            with tarfile.open(archive, "r", fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
                for member in tar:
                    if member.issym() or member.islnk():
                        later.append(member)
                    else:
                        self._place(tar, member)
            for member in sorted(later, key=tarfile.TarInfo.issym):
                self._link(member)
            self._placer.settle()
        except tarfile.TarError as error:
            raise StageError("not a readable archive: %s" % error) from error
        except OSError as error:
            raise disk_error("cannot unpack", error) from error
        except EOFError as error:
            raise StageError("cannot unpack: %s" % why(error)) from error

    def _place(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        target = self._placer.target(member.name)
        if member.isdir():
            self._placer.folder(target, member.mode)
        elif member.isreg():
            self._placer.file(target, member.mode, member.size, lambda: tar.extractfile(member))
        else:
            raise StageError("archive member %s is neither file, folder nor link" % member.name)

    def _link(self, member: tarfile.TarInfo) -> None:
        target = self._placer.target(member.name)
        if member.issym():
            self._placer.symbolic_link(target, member.linkname)
        else:
            self._placer.hard_link(target, self._placer.target(member.linkname))
