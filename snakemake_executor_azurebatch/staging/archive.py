"""The workflow's sources as one tar.gz, named after what is in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import Sources
from snakemake_executor_azurebatch.staging import digests, tarball
from snakemake_executor_azurebatch.staging.store import BlobStore

#: Never sources, wherever they turn up.
LEFT_OUT = frozenset({".git", ".snakemake", "__pycache__"})


@dataclass(frozen=True)
class SourceArchive:
    """A tar.gz; members are absolute paths without their leading slash.

    ``sha256`` is over the members' paths, contents and modes, so the same sources have the same blob, whatever
    compressed them; ``md5`` and ``size_bytes`` are those of ``data``.
    """

    data: bytes
    sha256: str
    md5: str
    size_bytes: int

    @property
    def blob(self) -> str:
        """Its name, without the workdir's prefix."""
        return f"sources/{self.sha256}.tar.gz"


def build_archive(files: Iterable[Path], base: Path | None = None) -> SourceArchive:
    """Pack files and folders (relative ones: to ``base``, else to the current folder); missing ones are skipped.

    Links are followed. Raises StagingError naming a file that cannot be read.
    """
    packed, name = io.BytesIO(), hashlib.sha256()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(_members(files, base or Path.cwd())):
            _add(archive, name, path)
    data = packed.getvalue()
    content = digests.of_pieces([data])
    return SourceArchive(data, name.hexdigest(), content.md5, content.size_bytes)


def stage_sources(store: BlobStore, archive: SourceArchive) -> Sources:
    """Upload the archive unless it is there. Raises ServiceError."""
    blob = store.prefix + archive.blob
    store.offered.add(blob)
    there = store.describe(blob)
    # The same sources compressed by another zlib are other bytes: say what is really there.
    if there is not None and there.md5:
        return Sources(blob, there.size_bytes, there.md5)
    store.upload_bytes(blob, archive.data, overwrite=True)
    return Sources(blob, archive.size_bytes, archive.md5)


def _members(files: Iterable[Path], base: Path) -> set[str]:
    found: set[str] = set()
    for given in files:
        path = os.path.abspath(base / given)  # noqa: PTH100 - Path.absolute keeps "..", which no member may have
        found.update(_inside(path, set()) if Path(path).is_dir() else [path])
    return {path for path in found if Path(path).is_file()}


def _inside(folder: str, seen: set[str]) -> Iterator[str]:
    """All files below; a folder that links lead back to is walked once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for item in os.scandir(folder):
        if item.name in LEFT_OUT:
            continue
        if item.is_dir():
            yield from _inside(item.path, seen)
        else:
            yield item.path


def _add(archive: tarfile.TarFile, name: hashlib._Hash, path: str) -> None:
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode) & 0o777
        data = Path(path).read_bytes()
    except OSError as error:
        raise StagingError(f"source file {path} cannot be read: {error.strerror}") from error
    info = tarball.member(path.lstrip("/"), mode)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
    inner = hashlib.sha256(data).hexdigest()
    name.update(f"{path}\0{mode:o}\0{inner}\n".encode("utf-8", "surrogateescape"))
