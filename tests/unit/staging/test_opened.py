"""Folders that are inputs, taken apart for images without tar."""

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import DIRECTORY
from snakemake_executor_azurebatch.staging import opened
from snakemake_executor_azurebatch.staging.opened import Opened, open_folders


@pytest.fixture
def given(tmp_path):
    folder = tmp_path / "given"
    (folder / "hollow").mkdir(parents=True)
    (folder / "shut/deep").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "shut/tool").write_text("2")
    (folder / "l").symlink_to("shut/tool")
    (folder / "out").symlink_to(tmp_path / "beside")
    (tmp_path / "beside").write_text("3")
    for path in (folder / "hollow", folder / "shut/deep"):
        path.chmod(0o755)
    (folder / "shut").chmod(0o555)
    yield NeededFile("given", folder, DIRECTORY)
    (folder / "shut").chmod(0o755)


def test_files_travel_by_themselves_and_what_has_no_content_is_told(given, tmp_path):
    plain = NeededFile("plain", tmp_path / "beside")

    found = open_folders([given, plain])

    assert found.files == [
        plain,
        NeededFile("given/a", given.local / "a"),
        # What a link leads to outside of the folder comes along; a link inside stays one.
        NeededFile("given/out", given.local / "out"),
        NeededFile("given/shut/tool", given.local / "shut/tool"),
    ]
    assert found.opened == [Opened("given", ("hollow", "shut", "shut/deep"), (("l", "shut/tool"),), (("shut", 0o555),))]


def test_a_large_folder_stays_whole_and_so_do_the_others(given, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "MOST_FILES", 3)
    small = tmp_path / "small"
    small.mkdir()
    (small / "x").write_text("")
    both = [given, NeededFile("small", small, DIRECTORY)]

    assert open_folders(both).files == both
    assert open_folders(both).opened == []
    assert [one.path for one in open_folders(both[1:]).files] == ["small/x"]


def test_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(StagingError, match="input folder gone cannot be read: No such file"):
        open_folders([NeededFile("gone", tmp_path / "gone", DIRECTORY)])
