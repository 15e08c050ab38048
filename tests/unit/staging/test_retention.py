"""What may go: never a blob that somebody needs, that is too young, or that is not ours."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_azurebatch.staging.retention import STALE, WORKDIRS, Claims, Seen, choose, stale

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=10)
ME, OTHER, GONE = "me", "other", "gone"
SHA = "a" * 64

TASK_FILES = (
    "manifest.json",
    "commit.json",
    "outputs/a/b.txt",
    "outputs.folders/d.tar",
    "logs/l.txt",
    "packs/outputs.1",
    "streams/stderr.txt",
    "batch/out/0.tar",
)
NAMES = st.one_of(
    st.sampled_from(["0" * 64, "1" * 64]).flatmap(
        lambda sha: st.sampled_from(
            [f"inputs/{sha}", f"large/{sha}", f"packs/{sha}", f"sources/{sha}.tar.gz", f"runtime/{sha}/stager.pyz"]
        )
    ),
    st.tuples(st.sampled_from(["t1", "t2", "t3"]), st.sampled_from(TASK_FILES)).map(
        lambda it: f"tasks/{it[0]}/{it[1]}"
    ),
    st.sampled_from(
        [
            "inputs/mine.txt",
            "packs/mine",
            "notes.txt",
            "tasks/t1/notes.txt",
            "tasks/x",
            f"{WORKDIRS}{ME}",
            f"old/inputs/{SHA}",
        ]
    ),
)
FOLDERS = ("tasks/t1/", "tasks/t2/", "tasks/t3/")
LISTINGS = st.dictionaries(
    NAMES, st.tuples(st.sampled_from([ME, OTHER, GONE, None]), st.integers(0, 20)), max_size=20
).map(lambda found: [Seen(name, 1, NOW - timedelta(days=age), owner) for name, (owner, age) in sorted(found.items())])


def chosen(listing, *, needed=(), others=(), before=NOW):
    return [doomed.blob.name for doomed in choose(listing, Claims(ME, set(others), set(needed)), before)]


@given(LISTINGS, st.sets(NAMES), st.sampled_from([(), (OTHER,)]), st.integers(0, 20))
def test_nothing_that_is_needed_young_or_foreign_is_chosen(listing, needed, others, keep_days):
    before = NOW - timedelta(days=keep_days)
    going = list(choose(listing, Claims(ME, set(others), needed), before))
    names = [doomed.blob.name for doomed in going]
    of_folder = {folder: {seen.owner for seen in listing if seen.name.startswith(folder)} for folder in FOLDERS}

    assert len(set(names)) == len(names)
    assert not set(names) & needed
    for doomed in going:
        assert doomed.blob.modified < before
        if doomed.folder:
            assert of_folder[doomed.folder] - {None}
            assert not of_folder[doomed.folder] & {*others}
        else:
            assert doomed.blob.owner is not None
            assert not others
    foreign = {
        "inputs/mine.txt",
        "packs/mine",
        "notes.txt",
        "tasks/t1/notes.txt",
        "tasks/x",
        f"{WORKDIRS}{ME}",
        f"old/inputs/{SHA}",
    }
    assert not set(names) & foreign


@given(LISTINGS, st.sets(NAMES), st.data())
def test_a_cut_short_removal_leaves_no_folder_without_a_mark(listing, needed, data):
    claims = Claims(ME, set(), needed)
    there = {seen.name: seen for seen in listing}
    going = list(choose(listing, claims, NOW))
    ordered = [one for one in going if not one.last] + [one for one in going if one.last]
    for one in ordered[: data.draw(st.integers(0, len(ordered)))]:
        del there[one.blob.name]
    rest = [there[name] for name in sorted(there)]
    again = {one.blob.name for one in choose(rest, claims, NOW)}

    assert again == {one.blob.name for one in going} & set(there)  # the next sweep takes what this one left


def task(name, *files, owner=ME, modified=OLD):
    """Of a task whose manifest was stored, and whose files Azure Batch has moved: only the manifest has a mark."""
    return [
        Seen(f"tasks/{name}/{file}", 1, modified, owner if file == "manifest.json" else None) for file in sorted(files)
    ]


def test_an_old_task_goes_whole_and_its_manifest_last():
    going = list(choose(task("t1", *TASK_FILES), Claims(ME, set(), set()), NOW))

    assert sorted(doomed.blob.name for doomed in going) == sorted(f"tasks/t1/{file}" for file in TASK_FILES)
    assert [doomed.blob.name for doomed in going if doomed.last] == ["tasks/t1/manifest.json"]


def test_of_a_task_without_a_manifest_the_record_goes_last():
    listing = [Seen(f"tasks/t1/{file}", 1, OLD, ME) for file in sorted(TASK_FILES) if file != "manifest.json"]
    going = list(choose(listing, Claims(ME, set(), set()), NOW))

    assert {doomed.blob.name for doomed in going} == {seen.name for seen in listing}
    assert [doomed.blob.name for doomed in going if doomed.last] == ["tasks/t1/commit.json"]


def test_what_a_lost_node_has_left_goes():
    assert chosen([Seen("tasks/t1/outputs/a/b.txt", 1, OLD, ME)]) == ["tasks/t1/outputs/a/b.txt"]
    assert chosen([Seen("tasks/t1/outputs/a/b.txt", 1, OLD, None)]) == []


def test_of_a_task_with_a_needed_output_that_and_the_manifest_stay():
    assert chosen(task("t1", *TASK_FILES), needed=["tasks/t1/outputs/a/b.txt"]) == [
        f"tasks/t1/{file}" for file in sorted(TASK_FILES) if file not in ("outputs/a/b.txt", "manifest.json")
    ]


def test_a_task_is_as_old_as_its_youngest_blob():
    listing = [*task("t1", "commit.json", modified=NOW), *task("t1", "manifest.json")]

    assert chosen(listing, before=NOW) == []


@pytest.mark.parametrize(
    ("owner", "others", "goes"), [(ME, [], True), (GONE, [OTHER], True), (OTHER, [OTHER], False), (None, [], False)]
)
def test_a_task_folder_is_its_owners(owner, others, goes):
    assert bool(chosen(task("t1", "manifest.json", owner=owner), others=others)) is goes


def test_what_is_shared_stays_while_another_workdir_is_there():
    listing = [Seen(f"inputs/{SHA}", 1, OLD, ME)]

    assert chosen(listing, others=[OTHER]) == []
    assert chosen(listing) == [f"inputs/{SHA}"]


def test_marks_of_abandoned_workdirs_are_stale():
    marks = [
        Seen(WORKDIRS + name, 0, NOW - age, name)
        for name, age in ((ME, 2 * STALE), (OTHER, STALE / 2), (GONE, 2 * STALE))
    ]

    old, others = stale(marks, ME, NOW)

    assert [mark.owner for mark in old] == [GONE]
    assert others == {OTHER}
