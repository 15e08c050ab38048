"""Outputs and logs outside of the workdir: had where the controller has them, or refused before the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol

from .harness import Site, products


def test_any_place_can_be_had_and_nothing_stays_there(site: Site, tmp_path: Path) -> None:
    workdir, far = tmp_path / "new" / "project", tmp_path / "far" / "off"
    paths = (f"{far}/out", "../beside/out", f"{workdir}/../up", "in/out", f"{workdir}/own")
    result = site.run(
        f"for path in {' '.join(paths)}; do pwd > $path; done; mkdir {far}/d; echo d > {far}/d/f; echo log > {far}/log",
        workdir=str(workdir),
        same_path=True,
        outputs=[*products(*paths), *products(f"{far}/d", kind=protocol.DIRECTORY)],
        logs=products(f"{far}/log"),
    )
    assert result.exit_code == 0, result.stderr
    record = site.record()
    assert (record.same_path, record.why_tree) == (True, "")
    assert {item.path for item in record.outputs} == {*paths, f"{far}/d"}
    assert all(site.blob(item.blob) == f"{workdir}\n".encode() for item in record.outputs if item.path in paths)
    assert [site.blob(item.blob) for item in record.logs] == [b"log\n"]
    assert not far.parent.exists()
    assert not workdir.parent.exists()


@pytest.mark.parametrize("kind", ["output", "log"])
def test_without_the_same_path_an_absolute_one_is_refused(site: Site, tmp_path: Path, kind: str) -> None:
    workdir = tmp_path / "mine"
    workdir.mkdir()
    result = site.run(
        f"touch {workdir}/a ../b",
        workdir=str(workdir),
        same_path=True,
        **{f"{kind}s": products(f"{workdir}/a", "../b")},
    )
    record = site.record()
    assert result.exit_code == protocol.EXIT_SETUP
    assert (record.same_path, record.why_tree) == (False, f"the folder {workdir} is there already")
    assert (record.error_message or "").startswith(f"{workdir}/a is an absolute path, and the task cannot run at ")
    assert list(workdir.iterdir()) == []


def test_what_is_there_before_the_command_is_no_output(site: Site, tmp_path: Path) -> None:
    (tmp_path / "image").write_text("of the image")
    result = site.run(workdir=str(tmp_path / "w"), same_path=True, outputs=products(str(tmp_path / "image")))
    assert result.exit_code == protocol.EXIT_SETUP
    assert "image is there already, before the command" in (site.record().error_message or "")
    assert (tmp_path / "image").read_text() == "of the image"


def test_a_file_that_the_job_updates_is_brought_there_first(site: Site, tmp_path: Path) -> None:
    path = str(tmp_path / "db" / "x")
    result = site.run(
        f"echo more >> {path}",
        workdir=str(tmp_path / "w"),
        same_path=True,
        inputs=[site.file(path, b"some\n")],
        outputs=products(path),
    )
    assert result.exit_code == 0, result.stderr
    assert site.outputs() == {path: b"some\nmore\n"}


def test_the_nodes_own_folders_are_refused(site: Site, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.mkdir()
    site.extra_environment["AZ_BATCH_NODE_ROOT_DIR"] = str(node)
    for path in (f"{node}/shared/x", f"{site.task_dir}/wd/x"):
        result = site.run(workdir=str(tmp_path / "w"), same_path=True, outputs=products(path))
        assert result.exit_code == protocol.EXIT_SETUP
        assert f"{path} lies in the node's own folder" in (site.record().error_message or "")


def test_a_folder_that_cannot_be_made_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = site.run(workdir=str(tmp_path / "w"), same_path=True, outputs=products(f"{tmp_path}/file/deep/x"))
    assert result.exit_code == protocol.EXIT_SETUP
    assert f"cannot make the folder {tmp_path}/file/deep for an output" in (site.record().error_message or "")
