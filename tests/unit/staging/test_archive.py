from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import Sources
from snakemake_executor_azurebatch.staging import archive as archives
from snakemake_executor_azurebatch.staging.archive import SourceArchive, build_archive, changed, stage_sources
from snakemake_executor_azurebatch.staging.place import beside
from snakemake_executor_azurebatch.staging.store import BlobStore


def contents(archive: SourceArchive) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive.data), mode="r:gz") as tar:
        assert [info.name for info in tar] == sorted(info.name for info in tar)
        assert all((info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "") for info in tar)
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]  # all are files


@pytest.fixture
def project(workdir: Path) -> Path:
    (workdir / "scripts" / "deep").mkdir(parents=True)
    (workdir / "Snakefile").write_bytes(b"rule")
    (workdir / "scripts" / "a.py").write_bytes(b"a")
    (workdir / "scripts" / "deep" / "tool").write_bytes(b"#!")
    (workdir / "scripts" / "deep" / "tool").chmod(0o755)
    (workdir / "linked.smk").symlink_to("Snakefile")
    (workdir / "scripts" / "again").symlink_to("..")
    for left_out in (".snakemake", ".git", "__pycache__"):
        (workdir / "scripts" / left_out).mkdir()
        (workdir / "scripts" / left_out / "x").touch()
    return workdir


def test_members_are_absolute_paths_with_content(project: Path) -> None:
    given = [
        Path("Snakefile"),
        project / "linked.smk",
        Path("scripts/deep"),
        Path("gone.smk"),
        Path("scripts/../Snakefile"),
    ]
    root = str(project).lstrip("/")
    assert contents(build_archive(given, project)) == {
        f"{root}/Snakefile": b"rule",
        f"{root}/linked.smk": b"rule",
        f"{root}/scripts/deep/tool": b"#!",
    }


def test_a_folder_is_walked_without_what_is_never_source(project: Path) -> None:
    members = contents(build_archive([project / "scripts"]))
    assert {name.rpartition("/")[2] for name in members} == {"a.py", "tool", "Snakefile", "linked.smk"}


def test_files_that_are_on_their_way_here_are_no_sources(project: Path) -> None:
    beside(project / "scripts" / "deep" / "result").touch()

    assert {Path(name).name for name in contents(build_archive([project / "scripts/deep"]))} == {"tool"}


def test_a_file_that_vanishes_meanwhile_is_left_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, read = project / "scripts" / "deep" / "tool", Path.read_bytes

    def vanishing(path: Path) -> bytes:
        gone.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    archive = build_archive([project / "Snakefile", project / "scripts"])
    assert archive.sha256 == build_archive([project / "Snakefile", project / "scripts"]).sha256
    assert str(gone).lstrip("/") not in contents(archive)


def test_data_among_the_sources_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 20)
    for name, size_bytes in (("data/a/1", 600_000), ("data/b/2", 600_000), ("results/3", 500_000)):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_bytes(bytes(size_bytes))

    with pytest.raises(StagingError) as caught:
        build_archive([project])
    assert f"have 1.6 MiB, 1.1 MiB of it in {project}/data; no more than 1.0 MiB" in str(caught.value)
    assert build_archive([project / "data/a"]).size_bytes < 1 << 20


def test_the_name_depends_on_paths_contents_and_modes_only(project: Path) -> None:
    def build(*files: str) -> SourceArchive:
        return build_archive([Path(file) for file in files], project)

    first = build("Snakefile", "scripts/a.py")
    assert build("scripts/a.py", "Snakefile", "Snakefile") == first
    (project / "Snakefile").touch()
    assert build("Snakefile", "scripts/a.py") == first
    (project / "Snakefile").chmod(0o755)
    other_mode = build("Snakefile", "scripts/a.py")
    (project / "Snakefile").write_bytes(b"edit")
    other_content = build("Snakefile", "scripts/a.py")
    fewer = build("Snakefile")
    assert len({first.sha256, other_mode.sha256, other_content.sha256, fewer.sha256}) == 4


def test_what_was_edited_since_is_known(project: Path) -> None:
    members = build_archive([project / "Snakefile", project / "scripts"]).members
    edited, gone = project / "scripts/a.py", project / "scripts/deep/tool"
    assert {str(edited), str(gone)} < members.keys()
    for path in map(Path, members):
        path.touch()
    assert changed(members) == []
    edited.write_bytes(b"edit")
    gone.unlink()
    assert changed(members) == sorted(map(str, (edited, gone)))


def test_it_goes_up_once_and_what_is_there_is_told(store: BlobStore, project: Path) -> None:
    archive = build_archive([project / "Snakefile"])
    sources = stage_sources(store, archive)
    assert sources == Sources(f"sources/{archive.sha256}.tar.gz", archive.size_bytes, archive.md5)
    assert store.read_bytes(sources.blob, 10_000) == archive.data
    # The same sources, compressed elsewhere into other bytes:
    squeezed = SourceArchive(archive.data + bytes(10), archive.sha256, "0" * 32, archive.size_bytes + 10)
    assert stage_sources(store, squeezed) == sources
