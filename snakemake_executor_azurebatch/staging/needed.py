"""Inputs as they are on this machine: whether they stay so while they are read, and what is wrong with them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY
from snakemake_executor_azurebatch.staging.stamps import Stamp

NAMED_AT_MOST = 20
_SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class Changed(StagingError):
    """An input did not stay as it was while it was read. Another look may do: a hard link, chmod or touch is enough."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An input as it was before it was read. ``mode``: the permission bits that travel; ``at_ns``: when it was seen."""

    want: NeededFile
    stamp: Stamp
    mode: int
    at_ns: int

    @staticmethod
    def of(want: NeededFile) -> Seen:
        """Look at it. Raises StagingError for what is not what the job takes it for, and OSError."""
        at_ns = time.time_ns()
        status = want.local.stat()
        is_directory = stat.S_ISDIR(status.st_mode)
        if not is_directory and not stat.S_ISREG(status.st_mode):  # reading it might never end
            kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "a device")
            raise StagingError(f"{what(want)} is {kind}, which cannot be uploaded")
        if is_directory != (want.kind == DIRECTORY):
            raise StagingError(f"{what(want)} is {'a folder' if is_directory else 'not a folder'}")
        stamp = Stamp.of(want.local) if is_directory else Stamp.from_status(status)
        return Seen(want, stamp, stat.S_IMODE(status.st_mode) & 0o777, at_ns)

    @property
    def is_settled(self) -> bool:
        """Whether any change since must show in the stamp."""
        return self.stamp.settled(self.at_ns)

    def stays(self) -> bool:
        """Whether it is as it was, as far as can be seen."""
        return stamp_or_none(self.want) == self.stamp


def stamp_or_none(want: NeededFile) -> Stamp | None:
    """Its stamp; None where it cannot be looked at."""
    try:
        return Stamp.of(want.local)
    except OSError:
        return None


@contextmanager
def reading(want: NeededFile) -> Iterator[None]:
    """Say in words what keeps an input from being read."""
    try:
        yield
    except FileNotFoundError as error:
        raise StagingError(f"{what(want)} is missing{_inside(want, error)}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StagingError(f"{what(want)} cannot be read{_inside(want, error)}: {reason}") from error


def what(want: NeededFile) -> str:
    """What messages call it."""
    return f"input {'folder' if want.kind == DIRECTORY else 'file'} {want.path}"


def _inside(want: NeededFile, error: OSError) -> str:
    """For a folder: which of its files it is."""
    if error.filename is None or Path(os.fsdecode(error.filename)) == want.local:
        return ""
    return f" ({os.fsdecode(error.filename)})"


def changed(want: NeededFile) -> Changed:
    """The error for one that did not stay as it was."""
    return Changed(f"{what(want)} changed while it was being uploaded; is something still writing it?")


def listed(problems: list[str]) -> str:
    """Problems as one text, each once, the first ones named."""
    named = [*dict.fromkeys(problems)]
    more = len(named) - NAMED_AT_MOST
    return "\n".join([*named[:NAMED_AT_MOST], *([f"and {more} more"] if more > 0 else [])])
