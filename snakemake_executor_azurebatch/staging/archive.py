"""The workflow's sources as one tar.gz, named after what is in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import Sources
from snakemake_executor_azurebatch.staging import digests, tarball
from snakemake_executor_azurebatch.staging.place import TEMPORARY_PREFIX
from snakemake_executor_azurebatch.staging.progress import amount
from snakemake_executor_azurebatch.staging.store import BlobStore

#: Never sources, wherever they turn up: secrets may be in them, and they change with each run.
LEFT_OUT = frozenset({".git", ".hg", ".svn", ".snakemake", "__pycache__", ".ipynb_checkpoints"})

#: More is data, which each job would have to fetch and unpack.
MAX_BYTES = 500 << 20


@dataclass(frozen=True)
class SourceArchive:
    """A tar.gz; members are absolute paths without their leading slash.

    ``sha256`` is over the members' paths, contents and modes, so the same sources have the same blob, whatever
    compressed them; ``md5`` and ``size_bytes`` are those of ``data``. ``members``: SHA-256 of each file, by its path.
    """

    data: bytes = field(repr=False)
    sha256: str
    md5: str
    size_bytes: int
    members: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def blob(self) -> str:
        """Its name, without the workdir's prefix."""
        return f"sources/{self.sha256}.tar.gz"


def build_archive(files: Iterable[Path], base: Path | None = None) -> SourceArchive:
    """Pack files and folders (relative ones: to ``base``, else to the current folder); missing ones are skipped.

    Links are followed. What vanishes meanwhile is missing, too. Raises StagingError naming a file that cannot be read,
    or the folder with most of it where there is more than MAX_BYTES.
    """
    members = sorted(_members(files, base or Path.cwd()))
    _refuse_data(members)
    packed, name, taken = io.BytesIO(), hashlib.sha256(), {}
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in members:
            if (inner := _add(archive, name, path)) is not None:
                taken[path] = inner
    data = packed.getvalue()
    return SourceArchive(data, name.hexdigest(), digests.md5_of(data), len(data), taken)


def changed(members: Mapping[str, str]) -> list[str]:
    """Which of these files (SHA-256 by path) are other ones now, or gone."""
    return sorted(path for path, inner in members.items() if _sha256_now(path) != inner)


def _sha256_now(path: str) -> str | None:
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


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


def is_never_source(names: Iterable[str]) -> bool:
    """Whether one of the names on the way to a file says that it is no source."""
    return any(name in LEFT_OUT or name.startswith(TEMPORARY_PREFIX) for name in names)


def _refuse_data(paths: Iterable[str]) -> None:
    """Before anything is read: it would fill the memory."""
    below: Counter[str] = Counter()
    for path in paths:
        with suppress(OSError):
            size_bytes = Path(path).stat().st_size
            below.update(dict.fromkeys(map(str, Path(path).parents), size_bytes))
    total_bytes = below["/"]
    if total_bytes <= MAX_BYTES:
        return
    folder = max((folder for folder, size_bytes in below.items() if 2 * size_bytes > total_bytes), key=len)
    raise StagingError(
        f"the workflow's sources have {amount(total_bytes)}, {amount(below[folder])} of it in {folder}; no more than "
        f"{amount(MAX_BYTES)} go with each job. Sources are all files in the folders of the scripts and below, what "
        "git tracks here, and --azurebatch-extra-files. Keep scripts in a folder without data (scripts/), and give "
        "data to rules as input."
    )


def _members(files: Iterable[Path], base: Path) -> set[str]:
    found: set[str] = set()
    for given in files:
        path = os.path.abspath(base / given)  # noqa: PTH100 - Path.absolute keeps "..", which no member may have
        found.update(files_below(path) if Path(path).is_dir() else [path])
    return {path for path in found if Path(path).is_file()}


def files_below(folder: str) -> Iterator[str]:
    """All files below, through links too, but for what is never a source."""
    return _inside(folder, set())


def _inside(folder: str, seen: set[str]) -> Iterator[str]:
    """A folder that links lead back to is walked once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        items = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for item in items:
        if is_never_source([item.name]):
            continue
        if item.is_dir():
            yield from _inside(item.path, seen)
        else:
            yield item.path


def _add(archive: tarfile.TarFile, name: hashlib._Hash, path: str) -> str | None:
    """SHA-256 of the file; None where there is none any more."""
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode) & 0o777
        data = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StagingError(f"source file {path} cannot be read: {error.strerror}") from error
    info = tarball.member(path.lstrip("/"), mode)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
    inner = hashlib.sha256(data).hexdigest()
    name.update(f"{path}\0{mode:o}\0{inner}\n".encode("utf-8", "surrogateescape"))
    return inner
