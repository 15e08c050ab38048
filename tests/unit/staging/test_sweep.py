"""A sweep of a real blob container: what stands stays, what stands for nothing goes."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node.limits import MANY
from snakemake_executor_azurebatch.node.protocol import CommitRecord
from snakemake_executor_azurebatch.staging import digests, home
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.outputs import learn_outputs
from snakemake_executor_azurebatch.staging.stamps import Stamp
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.sweep import sweep
from snakemake_executor_azurebatch.staging.transfer import Transfers

from .conftest import blob_names, stored, wanted


class Workplace:
    """One workdir: its store, its index, its transfers."""

    def __init__(self, container, path: Path, *, prefix: str = "", owner: str = "") -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.store = BlobStore(container, prefix=prefix, owner=owner or path.name)
        identity = self.store.ensure()
        self.number = home.register(self.store)
        self.index = Index(path / "index.sqlite", identity + self.number)
        self.transfers = Transfers(self.store, self.index)

    def has_uploaded(self, name: str, content: bytes) -> str:
        """An input that is in blob storage, and known; its blob."""
        file = self.path / name
        file.write_bytes(content)
        os.utime(file, (1, 1))
        blob = self.transfers.upload_missing([wanted(self.path, name)])[name].blob
        ref = self.transfers.known(wanted(self.path, name))
        if ref is None:  # uploaded within the clock tick of its own change
            self.index.learn(str(file), Stamp.of(file), self._ref(blob, content))
        return blob

    def _ref(self, blob, content):
        return BlobRef(blob, len(content), digests.of_pieces([content]).md5, 0o644, "file")

    def has_run(self, task: str, output: str, content: bytes) -> str:
        """A task that left an output, which stands here; its folder."""
        folder = f"{self.store.prefix}tasks/{task}"
        self.store.upload_bytes(f"{folder}/manifest.json", b"{}")
        by_node = BlobStore(self.store.container)  # the stager marks nothing
        by_node.upload_bytes(f"{folder}/commit.json", b"{}")
        by_node.upload_bytes(f"{folder}/outputs/{output}", content)
        by_node.close()
        place = self.path / output
        place.write_bytes(content)
        left = stored(output, self._ref(f"{folder}/outputs/{output}", content))
        learn_outputs(self.index, CommitRecord(task, "done", 0, outputs=[left]), self.path, [place])
        return folder

    def sweeps(self, keep_s: float = 0, **options):
        return sweep(self.store, self.index, keep_s, **options)

    def close(self) -> None:
        self.transfers.close()
        self.index.close()
        self.store.close()


@pytest.fixture
def workplaces(container, tmp_path):
    made = []

    def make(name: str = "here", **options) -> Workplace:
        made.append(Workplace(container, tmp_path / name, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def here(workplaces) -> Workplace:
    return workplaces()


def test_what_stands_stays_and_the_rest_goes(here):
    kept = here.has_uploaded("kept.txt", b"kept")
    changed = here.has_uploaded("changed.txt", b"before")
    (here.path / "changed.txt").write_bytes(b"after, longer")
    gone = here.has_uploaded("gone.txt", b"gone")
    (here.path / "gone.txt").unlink()
    standing = here.has_run("t1", "out.txt", b"result")
    temporary = here.has_run("t2", "temp.txt", b"temporary")
    (here.path / "temp.txt").unlink()
    here.store.container.upload_blob("notes.txt", b"of somebody")
    here.store.container.upload_blob(f"inputs/{'f' * 64}", b"without a mark")

    swept = here.sweeps()

    assert set(blob_names(here.store)) == {
        *(kept, f"{standing}/outputs/out.txt", f"{standing}/manifest.json"),
        *("notes.txt", f"inputs/{'f' * 64}", "workdirs/here"),
    }
    assert (swept.removed, swept.refused, swept.in_time) == (6, 0, True)
    assert {changed, gone}.isdisjoint(blob_names(here.store))
    assert not blob_names(here.store, temporary)
    assert str(here.sweeps()) == ""


def test_a_pack_stays_while_one_of_its_files_does(here):
    names = [f"f{number}" for number in range(MANY)]
    for name in names:
        (here.path / name).write_text(name)
    up = here.transfers.upload_missing([wanted(here.path, name) for name in names])
    here.index.learn_all(
        (
            str(here.path / name),
            Stamp.of(here.path / name),
            BlobRef(item.blob, 1, item.md5, 0o644, "file", item.offset, 9),
        )
        for name, item in up.items()
    )
    for name in names[1:]:
        (here.path / name).unlink()

    here.sweeps()
    assert blob_names(here.store, "packs/") == [up["f0"].blob]
    (here.path / "f0").unlink()
    here.sweeps()
    assert blob_names(here.store, "packs/") == []


def test_a_large_input_goes_like_any_other(here):
    for name in ("0" * 64, "1" * 64):
        here.store.upload_bytes(f"large/{name}", b"large")
    file = here.path / "large"
    file.write_bytes(b"large")
    here.index.learn(str(file), Stamp.of(file), here._ref(f"large/{'1' * 64}", b"large"))

    here.sweeps()

    assert blob_names(here.store, "large/") == [f"large/{'1' * 64}"]


def test_what_is_young_stays(here):
    here.has_uploaded("gone.txt", b"gone")
    (here.path / "gone.txt").unlink()

    here.sweeps(keep_s=3600)
    assert len(blob_names(here.store, "inputs/")) == 1
    here.sweeps()
    assert blob_names(here.store, "inputs/") == []


def test_a_file_that_comes_back_is_not_believed_to_be_a_blob_that_is_gone(here):
    here.has_uploaded("disk.txt", b"on a disk")
    file, away = here.path / "disk.txt", here.path / "away"
    os.link(file, away)
    stamp = Stamp.of(file)
    here.index.learn(str(file), stamp, here._ref(here.has_uploaded("disk.txt", b"on a disk"), b"on a disk"))
    hidden = here.path / "unmounted"
    here.path.joinpath("sub").mkdir()
    here.path.joinpath("sub", "data.txt").write_bytes(b"on a disk that goes and comes")
    data = here.path / "sub" / "data.txt"
    ref = here._ref(f"inputs/{'b' * 64}", b"on a disk that goes and comes")
    here.store.upload_bytes(ref.blob, b"on a disk that goes and comes")
    here.index.learn(str(data), Stamp.of(data), ref)
    (here.path / "sub").rename(hidden)  # the file itself keeps its stamp

    here.sweeps()
    hidden.rename(here.path / "sub")

    assert ref.blob not in blob_names(here.store)
    assert here.index.find(str(data), Stamp.of(data)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_name_that_is_not_utf8_still_stands(here):
    name = os.fsdecode(b"caf\xe9 \\udce9.txt")
    blob = here.has_uploaded(name, b"odd")

    here.sweeps()

    assert blob in blob_names(here.store)
    assert here.transfers.known(wanted(here.path, name)) is not None


def test_the_stager_and_the_sources_of_this_run_stay_and_those_of_others_go(here):
    here.store.upload_bytes(f"sources/{'1' * 64}.tar.gz", b"now")
    here.store.upload_bytes(f"sources/{'0' * 64}.tar.gz", b"before")
    here.store.offered.discard(f"sources/{'0' * 64}.tar.gz")

    here.sweeps()

    assert blob_names(here.store, "sources/") == [f"sources/{'1' * 64}.tar.gz"]


def test_workdirs_in_one_blob_container_do_not_touch_each_other(workplaces):
    one, two = workplaces("one", prefix="one/"), workplaces("two", prefix="two/")
    for place in (one, two):
        place.has_run("t1", "out.txt", b"result")
        place.has_uploaded("same.txt", b"same")
        shutil.rmtree(place.path / "out.txt", ignore_errors=True)
        (place.path / "out.txt").unlink()
        (place.path / "same.txt").unlink()
    theirs = blob_names(two.store, "two/")

    one.sweeps()

    assert blob_names(one.store, "one/") == ["one/workdirs/one"]
    assert blob_names(two.store, "two/") == theirs


def test_two_machines_with_the_same_path_share_inputs_and_keep_their_tasks(workplaces):
    one, two = workplaces("one"), workplaces("two")
    shared = one.has_uploaded("same.txt", b"same")
    assert two.has_uploaded("same.txt", b"same") == shared
    theirs = two.has_run("t2", "out.txt", b"result")
    own = one.has_run("t1", "out.txt", b"result")
    (one.path / "same.txt").unlink()
    (one.path / "out.txt").unlink()

    one.sweeps()

    assert shared in blob_names(one.store)
    assert len(blob_names(one.store, theirs)) == 3
    assert blob_names(one.store, own) == []


def test_folders_of_a_hierarchical_namespace_are_no_blobs(here):
    folder = here.has_run("t1", "out.txt", b"result")
    for name in ("outputs", "tasks"):
        here.store.container.upload_blob(f"{folder}/{name}", b"", metadata={"hdi_isfolder": "true"})
    (here.path / "out.txt").unlink()

    here.sweeps()

    assert blob_names(here.store, "tasks/") == [f"{folder}/outputs", f"{folder}/tasks"]


def test_time_is_up(here):
    here.has_run("t1", "out.txt", b"result")
    (here.path / "out.txt").unlink()

    swept = here.sweeps(at_most_s=0)

    assert not swept.in_time
    assert "the next run goes on" in str(swept)
    here.sweeps()
    assert blob_names(here.store, "tasks/") == []


def test_a_workdir_whose_mark_is_gone_believes_nothing(workplaces, container):
    first = workplaces("here")
    again = workplaces("here")
    assert again.number == first.number

    container.delete_blob("workdirs/here")

    assert workplaces("here").number != first.number
