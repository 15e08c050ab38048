"""Folders that are inputs, taken apart: for images that have no program to unpack an archive.

Each file in them travels like any other input, and so is a blob of its own. What has no content (folders, links,
permissions) is told to whoever puts the files in their places. Large folders stay whole: each file costs a request.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY
from snakemake_executor_azurebatch.staging import tree

#: Files in all folders of one job.
MOST_FILES = 1_000
USUAL_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder without its files. Paths are relative to it; parents come first."""

    path: str  #: relative to the workdir, or absolute
    folders: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  #: path, target
    modes: tuple[tuple[str, int], ...] = ()  #: of folders that are not as folders usually are


@dataclass(slots=True)
class Inputs:
    """Inputs of a job, with the folders among them taken apart."""

    files: list[NeededFile] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)


def open_folders(wanted: Iterable[NeededFile]) -> Inputs:
    """Take folders apart, or none of them where that would be too many files. Raises StagingError."""
    wanted = list(wanted)
    found = Inputs([one for one in wanted if one.kind != DIRECTORY])
    inside = 0
    for one in wanted:
        if one.kind == DIRECTORY:
            files, opened = _open(one)
            inside += len(files)
            found.files += files
            found.opened.append(opened)
    return found if inside <= MOST_FILES else Inputs(wanted)


def _open(one: NeededFile) -> tuple[list[NeededFile], Opened]:
    files: list[NeededFile] = []
    folders: list[str] = []
    links: list[tuple[str, str]] = []
    modes: list[tuple[str, int]] = []
    try:
        for entry in tree.walk(one.local):
            if entry.kind == tree.LINK:
                links.append((entry.relative, entry.link_target))
            elif entry.kind == tree.DIRECTORY:
                folders.append(entry.relative)
                mode = stat.S_IMODE(entry.status.st_mode) & 0o777
                modes += [(entry.relative, mode)] if mode != USUAL_MODE else []
            elif len(files) <= MOST_FILES:
                files.append(NeededFile(posixpath.join(one.path, entry.relative), entry.path))
            else:
                break
    except OSError as error:
        raise StagingError(f"input folder {one.path} cannot be read: {error.strerror or error}") from error
    return files, Opened(one.path, tuple(folders), tuple(links), tuple(modes))
