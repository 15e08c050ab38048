"""Many small files, in and out of one job and one for each of many: few requests, the same bytes."""

from __future__ import annotations

import re

import pytest

from .test_thrift import counter  # noqa: F401 (a fixture)

FILES = 24
WORKFLOW = f"""
N = [f"{{i:02}}" for i in range({FILES})]

rule all:
    input: expand("each/{{i}}.txt", i=N), "all.txt", "batch.txt"

rule many:
    input: expand("in/{{i}}.txt", i=N)
    output: expand("many/{{i}}.txt", i=N)
    shell: "for i in {{input}}; do sed s/input/output/ $i > many/$(basename $i); done"

rule each:
    input: "many/{{i}}.txt", "single/{{i}}.txt"
    output: "each/{{i}}.txt"
    shell: "cat {{input}} > {{output}}; echo changed >> {{input[0]}}; rm {{input[1]}}"

rule together:
    input: expand("each/{{i}}.txt", i=N), expand("many/{{i}}.txt", i=N[3:9])
    output: "all.txt"
    shell: "cat {{input}} > {{output}}"

rule brought_by_batch:
    input: expand("many/{{i}}.txt", i=N[:3]), "in/07.txt"
    output: "batch.txt"
    resources: azurebatch_staging="batch"
    shell: "cat {{input}} > {{output}}"
"""


def text(kind: str, *numbers: int) -> str:
    return "".join(f"{kind} {number}\n" for number in numbers)


@pytest.fixture
def prepared(workdir):
    workdir.write("Snakefile", WORKFLOW)
    for i in range(FILES):
        workdir.write(f"in/{i:02}.txt", text("input", i))
        workdir.write(f"single/{i:02}.txt", text("single", i))
    return workdir


def each(i: int) -> str:
    return text("output", i) + text("single", i)


def must_be_right(workdir) -> None:
    for i in range(FILES):
        assert workdir.read(f"many/{i:02}.txt") == text("output", i)
        assert workdir.read(f"each/{i:02}.txt") == each(i)
    assert workdir.read("all.txt") == "".join(map(each, range(FILES))) + text("output", *range(3, 9))
    assert workdir.read("batch.txt") == text("output", 0, 1, 2) + text("input", 7)


def test_many_small_files_are_few_requests(prepared, counter):  # noqa: F811
    prepared.run(jobs=50).must_succeed()

    must_be_right(prepared)
    packs = counter.sent("packs/")
    assert len(packs) == len(set(packs)) == 2  # inputs of the one job, and those of the many
    assert len(counter.sent("inputs/")) == 4  # what Azure Batch brings itself
    by_nodes = [one for one in counter.asked if not one.by_controller]
    [out] = {one.name for one in by_nodes if one.method == "PUT" and "/packs/" in one.name}
    assert re.fullmatch(r"tasks/many-[^/]+/packs/outputs\.[0-9a-f]{32}", out)
    assert {counter.downloads(pack) for pack in [*packs, out]} <= {1, 2}  # the number of nodes
    back = [one for one in counter.asked if one.by_controller and one.method == "GET" and one.name == out]
    assert len(back) == 1
    inputs = [item for manifest in prepared.manifests() for item in manifest.inputs]
    assert {item.blob for item in inputs if item.path == "many/20.txt"} == {out}

    counter.asked.clear()
    prepared.run("--forcerun", "each", "brought_by_batch", jobs=50).must_succeed()

    must_be_right(prepared)
    assert {re.sub(r"^tasks/[^/]+/", "", name) for name in counter.sent()} == {"manifest.json", "batch/run.sh"}
    prepared.nothing_to_do()


@pytest.mark.long
def test_packs_stay_while_one_of_their_files_is_needed(prepared):
    retention = ("--azurebatch-blob-retention", "run")
    prepared.run(*retention, jobs=50).must_succeed()
    packs = {name for name in prepared.blobs("") if "packs/" in name}
    assert len(packs) == 3
    for i in range(FILES - 1):
        (prepared.path / f"single/{i:02}.txt").unlink()
        (prepared.path / f"many/{i:02}.txt").unlink()
    prepared.write("Snakefile", 'rule other:\n    output: "other.txt"\n    shell: "touch {output}"\n')

    prepared.run(*retention, "other.txt").must_succeed()
    assert {name for name in prepared.blobs("") if "packs/" in name} == packs

    for folder in ("in", "single", "many"):
        for file in (prepared.path / folder).iterdir():
            file.unlink()
    prepared.run(*retention, "--force", "other.txt").must_succeed()
    assert not {name for name in prepared.blobs("") if "packs/" in name}
