"""What tells that a local file is still the one that was uploaded, without reading it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.staging import tree

#: Snakemake's own mark inside directory outputs: its modification time changes, its content never.
TIMESTAMP_FILE = ".snakemake_timestamp"

#: Two changes this near to each other may carry the same time (clock tick, coarse file systems).
TICK_NS = 1_000_000_000


@dataclass(frozen=True)
class Stamp:
    """State of a file, or of a folder and all that is in it. Equal stamps: taken to be the same content.

    For a folder the size is the sum, the times are the newest ones, and ``listing`` is a SHA-256 over every
    entry's relative path, kind, mode, size, times, inode and link target.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    listing: str = ""

    @staticmethod
    def of(path: Path) -> Stamp:
        """The stamp of what is at ``path``; links are followed. Raises OSError."""
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _of_directory(path, status.st_mode, status.st_ino)
        return Stamp.from_status(status)

    @staticmethod
    def from_status(status: os.stat_result) -> Stamp:
        """The stamp of a file that was looked at."""
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def settled(self, now_ns: int) -> bool:
        """Whether a later change must show in the stamp: the last one is at least a clock tick ago.

        A modification time in the future is none that a change has left, but was given: ``ctime`` tells of that, as
        of any change of content (source: POSIX, "File Times Update"; RFC 1813, ``fattr3``, for NFS, where it is by the
        server's clock). Other modification times count beside it, for file systems that keep no true ``ctime``.
        """
        changed_ns = self.ctime_ns if self.mtime_ns > now_ns else max(self.mtime_ns, self.ctime_ns)
        return changed_ns + TICK_NS <= now_ns


def _of_directory(root: Path, mode: int, inode: int) -> Stamp:
    """A folder's own times are left out: the listing says what they would, and Snakemake's mark moves them."""
    digest = hashlib.sha256(f"{stat.S_IMODE(mode):o}".encode())
    size_bytes = mtime_ns = ctime_ns = 0
    for entry in tree.walk(root):
        if entry.relative == TIMESTAMP_FILE:
            continue
        status = entry.status
        fields: tuple[object, ...] = (entry.relative, entry.kind, f"{stat.S_IMODE(status.st_mode):o}")
        if entry.kind != tree.DIRECTORY:
            fields += (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, entry.link_target)
            size_bytes += status.st_size
            mtime_ns, ctime_ns = max(mtime_ns, status.st_mtime_ns), max(ctime_ns, status.st_ctime_ns)
        digest.update("\0".join(map(str, fields)).encode("utf-8", "surrogateescape") + b"\n")
    return Stamp(size_bytes, mtime_ns, ctime_ns, inode, digest.hexdigest())
