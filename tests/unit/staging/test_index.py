from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from snakemake_executor_azurebatch.staging.index import MOST_SPELLED, BlobRef, Index, paths_of
from snakemake_executor_azurebatch.staging.stamps import Stamp

from .test_stamps import changed_later, same_size_and_mtime

REF = BlobRef("inputs/abc", 3, "0" * 32, 0o644, "file")
STAMP = Stamp(3, 1, 2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index(path, "store")
    yield index
    index.close()


def test_remembers_across_runs_only_for_its_own_blob_container(path: Path, index: Index) -> None:
    index.learn("/w/x", STAMP, REF)
    index.close()
    again, other = Index(path, "store"), Index(path, "another")
    assert again.find("/w/x", STAMP) == REF
    assert other.find("/w/x", STAMP) is None
    again.close()
    other.close()


@pytest.mark.parametrize(
    "stamp", [Stamp(4, 1, 2, 3), Stamp(3, 2, 2, 3), Stamp(3, 1, 3, 3), Stamp(3, 1, 2, 4), Stamp(3, 1, 2, 3, "l")]
)
def test_believes_only_the_whole_stamp(index: Index, stamp: Stamp) -> None:
    index.learn("/w/x", STAMP, REF)
    assert index.find("/w/x", stamp) is None


def test_a_place_in_a_pack_comes_back(index: Index) -> None:
    packed = [BlobRef("packs/1", 3, "0" * 32, 0o644, "file", offset, 100) for offset in (0, 3)]
    index.learn_all([("/w/x", STAMP, packed[0]), ("/w/y", STAMP, packed[1]), ("/w/z", STAMP, REF)])
    assert [index.find(f"/w/{name}", STAMP) for name in "xyz"] == [*packed, REF]
    assert [ref.is_whole for _, _, ref in index.rows()] == [False, False, True]


def test_what_is_learned_together_is_there_at_the_end_whatever_happens(path: Path, index: Index) -> None:
    def find(name: str) -> BlobRef | None:
        return index.find(f"/w/{name}", STAMP)

    with suppress(KeyError), index.together():
        index.learn("/w/x", STAMP, REF)
        with ThreadPoolExecutor(1) as other:
            other.submit(index.learn, "/w/z", STAMP, REF).result()
        index.learn("/w/y", STAMP, REF)
        assert [find(name) for name in "xyz"] == [None, None, REF]  # other threads' at once
        raise KeyError

    assert [find(name) for name in "xyz"] == [REF, REF, REF]
    index.learn("/w/v", STAMP, REF)
    assert find("v") == REF


def test_the_last_blob_of_a_path_is_there_to_compare(index: Index) -> None:
    assert index.last("/w/x") is None
    index.learn("/w/x", STAMP, REF)
    changed = Stamp(3, 9, 9, 3)
    assert (index.find("/w/x", changed), index.last("/w/x")) == (None, REF)
    index.forget("/w/x")
    assert index.last("/w/x") is None


def test_forgets(index: Index) -> None:
    index.learn("/w/x", STAMP, REF)
    index.forget("/w/x")
    assert index.find("/w/x", STAMP) is None


@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=())),
    stamp=st.builds(
        Stamp,
        *[st.integers(-(2**63), 2**63 - 1)] * 3,
        st.integers(0, 2**64 - 1),
        st.text(st.characters(exclude_categories=("Cs",))),
    ),
)
@settings(deadline=None, max_examples=50)
def test_any_name_and_any_stamp_come_back(name: str, stamp: Stamp) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder, "i"), "store")
        index.learn("/" + name, stamp, REF)
        assert index.find("/" + name, stamp) == REF
        index.close()


class RealFiles(RuleBasedStateMachine):
    """Whatever happens to a file: the index never names a blob with another content."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name, "x")
        self.file.write_bytes(b"0")
        self.index = Index(Path(self.folder.name, "index"), "store")
        self.stamp_of_last_learning: Stamp | None = None

    @rule()
    def learn(self) -> None:
        self.stamp_of_last_learning = Stamp.of(self.file)
        self.index.learn(str(self.file), self.stamp_of_last_learning, self._ref())

    @rule(content=st.binary(max_size=2))
    def rewrite(self, content: bytes) -> None:
        changed_later(self.file, lambda: self.file.write_bytes(content))

    @precondition(lambda self: self.file.stat().st_size)
    @rule(data=st.data())
    def rewrite_at_equal_size_and_mtime(self, data: st.DataObject) -> None:
        size_bytes = self.file.stat().st_size
        content = data.draw(st.binary(min_size=size_bytes, max_size=size_bytes))
        changed_later(self.file, lambda: same_size_and_mtime(self.file, content))

    @rule(content=st.binary(max_size=2))
    def replace(self, content: bytes) -> None:
        other = self.file.with_name("other")
        other.write_bytes(content)
        changed_later(other, other.touch)
        other.replace(self.file)

    @rule()
    def find(self) -> None:
        found = self.index.find(str(self.file), Stamp.of(self.file))
        assert found in (None, self._ref())
        if Stamp.of(self.file) == self.stamp_of_last_learning:
            assert found is not None

    def _ref(self) -> BlobRef:
        content = self.file.read_bytes()
        return BlobRef("inputs/" + content.hex(), len(content), "", 0o644, "file")

    def teardown(self) -> None:
        self.index.close()
        self.folder.cleanup()


RealFiles.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=20)
test_never_names_another_content = RealFiles.TestCase


class RealFolders(RuleBasedStateMachine):
    """The same for a folder: whatever happens to the files in it, through whichever of their names."""

    NAMES = st.sampled_from(["a", "b", "sub/c"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.input = Path(self.folder.name, "in")
        (self.input / "sub").mkdir(parents=True)
        for name in ("a", "b", "sub/c"):
            (self.input / name).write_bytes(b"00")
        self.other_name = Path(self.folder.name, "elsewhere")
        self.other_name.hardlink_to(self.input / "a")
        self.index = Index(Path(self.folder.name, "index"), "store")

    @rule()
    def learn(self) -> None:
        self.index.learn(str(self.input), Stamp.of(self.input), self._ref())

    @rule(name=NAMES, content=st.binary(min_size=2, max_size=2))
    def rewrite_at_equal_size_and_mtime(self, name: str, content: bytes) -> None:
        changed_later(self.input / name, lambda: same_size_and_mtime(self.input / name, content))

    @rule(content=st.binary(min_size=2, max_size=2))
    def rewrite_by_its_other_name(self, content: bytes) -> None:
        changed_later(self.other_name, lambda: same_size_and_mtime(self.other_name, content))

    @rule(one=NAMES, other=NAMES)
    def swap(self, one: str, other: str) -> None:
        aside = self.input.with_name("aside")
        (self.input / one).rename(aside)
        if one != other:
            (self.input / other).rename(self.input / one)
        aside.rename(self.input / other)

    @rule(name=NAMES, mode=st.sampled_from([0o600, 0o644, 0o755]))
    def change_mode(self, name: str, mode: int) -> None:
        changed_later(self.input / name, lambda: (self.input / name).chmod(mode))

    @rule()
    def find(self) -> None:
        assert self.index.find(str(self.input), Stamp.of(self.input)) in (None, self._ref())

    def _ref(self) -> BlobRef:
        """A blob whose name is all that counts of the folder."""
        files = sorted(path for path in self.input.rglob("*") if path.is_file())
        content = [(str(p.relative_to(self.input)), p.stat().st_mode, p.read_bytes()) for p in files]
        return BlobRef(repr(content), 0, "", 0o755, "directory")

    def teardown(self) -> None:
        self.index.close()
        self.folder.cleanup()


RealFolders.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
test_never_names_another_content_of_a_folder = RealFolders.TestCase


def test_many_threads(index: Index) -> None:
    def work(number: int) -> bool:
        stamp = Stamp(number, 1, 2, 3)
        index.learn(f"/w/{number}", stamp, REF)
        return index.find(f"/w/{number}", stamp) == REF

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(400)))


def _foreign(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"no database, but long enough" * 200), _foreign])
def test_an_unusable_file_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture, damage) -> None:
    path.parent.mkdir()
    damage(path)
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        index = Index(path, "store", logging.getLogger("given"))
    index.learn("/w/x", STAMP, REF)
    assert index.find("/w/x", STAMP) == REF
    index.close()
    assert path.with_name("index.sqlite.broken").stat().st_size >= len(before)
    assert [(r.name, "uploaded again" in r.getMessage()) for r in caplog.records] == [("given", True)]


def row(number: int) -> str:
    return f"/w/{number}/{'x' * 200}"


def filled(path: Path, rows: int) -> None:
    index = Index(path, "store")
    for number in range(rows):
        index.learn(row(number), STAMP, REF)
    index.close()


def spoil(path: Path) -> None:
    """Overwrite every page but the first, which says that the file is ours."""
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (path.stat().st_size - 4096))


def test_damage_is_found_at_the_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(path, 2000)
    spoil(path)
    with caplog.at_level(logging.WARNING):
        index = Index(path, "store")
    assert index.find(row(7), STAMP) is None
    index.close()
    assert len(caplog.records) == 1


def test_damage_during_a_run_costs_only_the_memory(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(path, 20_000)  # more than SQLite keeps in its cache
    index = Index(path, "store")
    spoil(path)
    with caplog.at_level(logging.WARNING):
        assert {index.find(row(number), STAMP) for number in range(20_000)} <= {REF, None}
        index.learn("/w/7", STAMP, REF)
        assert index.find("/w/7", STAMP) == REF
    index.close()
    assert "uploaded again" in caplog.text
    assert path.with_name("index.sqlite.broken").exists()


def test_where_no_file_can_be_made_it_remembers_for_this_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index").mkdir()
    with caplog.at_level(logging.WARNING):
        index = Index(tmp_path / "index", "store")
    index.learn("/w/x", STAMP, REF)
    assert index.find("/w/x", STAMP) == REF
    index.close()
    assert "could not be used" in caplog.text


@pytest.mark.parametrize("name", [b"plain", b"\xe9", b"\\udce9", b"\xe9\\udce9\xff", "\u00e9".encode()])
def test_a_row_tells_which_path_it_may_be_about(index: Index, name: bytes) -> None:
    path = os.fsdecode(b"/w/" + name)
    index.learn(path, STAMP, REF)

    [(text, stamp, ref)] = index.rows()

    assert path in paths_of(text)
    assert (stamp, ref) == (STAMP, REF)


def test_a_name_with_too_much_to_guess_is_not_guessed() -> None:
    assert paths_of("/w/" + "\\udce9" * (MOST_SPELLED + 1)) == []


def test_forgetting_rows_spares_what_was_learned_meanwhile(index: Index) -> None:
    for path in ("/w/x", "/w/y"):
        index.learn(path, STAMP, REF)
    newer = BlobRef("inputs/new", 3, "0" * 32, 0o644, "file")
    index.learn("/w/y", STAMP, newer)

    index.forget_all([("/w/x", REF.blob), ("/w/y", REF.blob)])

    assert index.find("/w/x", STAMP) is None
    assert index.find("/w/y", STAMP) == newer
