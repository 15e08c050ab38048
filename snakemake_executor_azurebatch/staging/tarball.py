"""A folder as one tar archive of what is in it, and back.

Member names are relative to the folder. Packing is deterministic: sorted, no owners, no times, so that the
same content has the same digest. Unpacking keeps permission bits, links and empty folders, and writes
nothing outside the folder: a member whose name leaves it, or whose way leads through a link, is refused.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from snakemake_executor_azurebatch.staging import tree


class UnsafeArchiveError(Exception):
    """An archive that would write outside its folder, or holds what is neither file, folder nor link."""


def pack(root: Path, target: BinaryIO) -> None:
    """Write the folder ``root`` to ``target`` as a tar archive (pax). Raises OSError."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in tree.walk(root):
            info = member(entry.relative, stat.S_IMODE(entry.status.st_mode))
            if entry.kind == tree.DIRECTORY:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif entry.kind == tree.LINK:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link_target, 0o777
                archive.addfile(info)
            else:
                with entry.path.open("rb") as stream:
                    info.size = os.fstat(stream.fileno()).st_size
                    archive.addfile(info, stream)


def member(name: str, mode: int) -> tarfile.TarInfo:
    """A tar header without owner and time."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = mode, 0
    return info


def unpack(archive_path: Path, target: Path) -> None:
    """Unpack into the new folder ``target``. Raises UnsafeArchiveError, tarfile.TarError or OSError."""
    target.mkdir()
    folders: list[tuple[Path, int]] = []
    with tarfile.open(archive_path, mode="r:*") as archive:
        for info in archive:
            place = _place(target, info.name)
            if info.isdir():
                if place != target:
                    _make_room(target, place)
                    place.mkdir(exist_ok=True)
                folders.append((place, info.mode))
            else:
                _make_room(target, place)
                _unpack_one(archive, info, target, place)
    # Last and from the inside out: a folder may be write-protected.
    for place, mode in reversed(folders):
        place.chmod(stat.S_IMODE(mode) & 0o777)


def _unpack_one(archive: tarfile.TarFile, info: tarfile.TarInfo, target: Path, place: Path) -> None:
    if place == target or os.path.lexists(place):
        raise UnsafeArchiveError(f"{info.name!r} is in the archive twice")
    if info.issym():
        place.symlink_to(info.linkname)
    elif info.islnk():
        source = _place(target, info.linkname)
        _refuse_links_on_the_way(target, source)
        place.hardlink_to(source)
    elif info.isreg():
        content = archive.extractfile(info)
        if content is None:
            raise UnsafeArchiveError(f"{info.name!r} has no content")
        with place.open("xb") as stream:
            shutil.copyfileobj(content, stream, 1 << 20)
        place.chmod(stat.S_IMODE(info.mode) & 0o777)
    else:
        raise UnsafeArchiveError(f"{info.name!r} is neither a file, a folder nor a link")


def _place(target: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UnsafeArchiveError(f"{name!r} leads out of the folder")
    return target.joinpath(*parts)


def _make_room(target: Path, place: Path) -> None:
    _refuse_links_on_the_way(target, place)
    place.parent.mkdir(parents=True, exist_ok=True)


def _refuse_links_on_the_way(target: Path, place: Path) -> None:
    step = place if place.is_symlink() else place.parent
    while step != target:
        if step.is_symlink():
            raise UnsafeArchiveError(f"{place.relative_to(target)} leads through a link")
        step = step.parent
