"""The fingerprint of a job changes with all that its result depends on, and with nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.jobs import JobRequest, NeededFile
from snakemake_executor_azurebatch.node.protocol import Product
from snakemake_executor_azurebatch.run import fingerprint as module
from snakemake_executor_azurebatch.run.fingerprint import Context, canonical, fingerprint, work_of, works_in
from snakemake_executor_azurebatch.storage import StoredObject, StoredObjects

CONTEXT = Context("salt", "image:1", "sources/1", "9.0")


@pytest.fixture
def request_(tmp_path) -> JobRequest:
    local = tmp_path / "in.txt"
    local.write_text("one")
    os.utime(local, (1_000_000_000, 1_000_000_000))
    return JobRequest(
        key="",
        name="align",
        threads=2,
        runtime_s=None,
        script="snakemake --rerun-triggers a b",
        inputs=(NeededFile("in.txt", local),),
        members=({"rule": "align", "wildcards": {"s": "1"}},),
        environment={"TOKEN": "secret"},
        resources={"mem_mb": 100},
    )


def changed_time(request: JobRequest) -> JobRequest:
    os.utime(request.inputs[0].local, (1_000_000_001, 1_000_000_001))
    return request


def changed_size(request: JobRequest) -> JobRequest:
    Path(request.inputs[0].local).write_text("longer")
    os.utime(request.inputs[0].local, (1_000_000_000, 1_000_000_000))
    return request


def gone(request: JobRequest) -> JobRequest:
    request.inputs[0].local.unlink()
    return request


@pytest.mark.parametrize(
    "change",
    [
        changed_time,
        changed_size,
        gone,
        lambda r: replace(r, threads=3),
        lambda r: replace(r, script="snakemake --rerun-triggers a c"),
        lambda r: replace(r, environment={"TOKEN": "other"}),
        lambda r: replace(r, resources={"mem_mb": 200}),
        lambda r: replace(r, pins=({"params": ["1"]},)),
        lambda r: replace(r, members=({"rule": "align", "wildcards": {"s": "2"}},)),
    ],
)
def test_a_change_of_the_work_shows(request_, change):
    before = fingerprint(request_, CONTEXT)

    assert fingerprint(change(request_), CONTEXT) != before


@pytest.mark.parametrize(
    "context",
    [
        replace(CONTEXT, salt="other"),
        replace(CONTEXT, image="image:2"),
        replace(CONTEXT, sources="sources/2"),
        replace(CONTEXT, snakemake_version="9.1"),
    ],
)
def test_a_change_around_it_shows(request_, context):
    assert fingerprint(request_, context) != fingerprint(request_, CONTEXT)


def test_another_version_of_the_plugin_or_of_what_it_tells_nodes_shows(request_, monkeypatch):
    marks = {fingerprint(request_, CONTEXT)}
    monkeypatch.setattr(module, "VERSION", 999)
    marks.add(fingerprint(request_, CONTEXT))
    monkeypatch.setattr(module, "__version__", "another")
    marks.add(fingerprint(request_, CONTEXT))
    assert len(marks) == 3


def test_versions_of_inputs_elsewhere_show_in_any_order(request_):
    assert fingerprint(request_, CONTEXT, ["a 1"]) != fingerprint(request_, CONTEXT, ["a 2"])
    assert fingerprint(request_, CONTEXT, ["a", "b"]) == fingerprint(request_, CONTEXT, ["b", "a"])


def test_key_and_order_of_sets_do_not_show(request_):
    before = fingerprint(request_, CONTEXT)

    assert fingerprint(replace(request_, key="other"), CONTEXT) == before
    assert fingerprint(replace(request_, script="snakemake --rerun-triggers b a"), CONTEXT) == before


def test_a_group_is_known_again_whatever_snakemake_calls_it_and_however_it_orders_it(request_):
    """Seen with snakemake 9.27.1: names of pipe groups are new in each process, and members come out of sets."""
    pins = ({"rule": "a", "output": ["a.txt"]}, {"rule": "b", "output": ["b.txt"]})
    products = (Product("a.txt"), Product("b.txt"))
    stored = tuple(StoredObject(name, "azure", f"az://c/{name}", "c", name) for name in ("a", "b"))

    def group(name: str, last: str, step: int) -> JobRequest:
        return replace(
            request_,
            name=name,
            script=f"snakemake --target-jobs a b --local-groupid {last} --cores 2",
            pins=pins[::step],
            outputs=products[::step],
            logs=products[::step],
            members=({"rule": "a", "wildcards": {}}, {"rule": "b", "wildcards": {}})[::step],
            stored=StoredObjects(stored[::step], stored[::step], stored[::step], ("a", "b")[::step]),
        )

    before = fingerprint(group("a1878899-1f5a", "fb1e", 1), CONTEXT)

    assert fingerprint(group("156fc7c2-8b29", "90c7", -1), CONTEXT) == before
    assert fingerprint(replace(group("a1878899-1f5a", "fb1e", 1), outputs=products[:1]), CONTEXT) != before
    moved = replace(group("a1878899-1f5a", "fb1e", 1), outputs=products[:1], logs=(products[1], *products))
    assert fingerprint(moved, CONTEXT) != before, "an output is no log"


def test_the_order_of_options_and_of_config_shows():
    assert canonical("x --config a=1 a=2") != canonical("x --config a=2 a=1")
    assert canonical("x --one 1 --two 2") != canonical("x --one 2 --two 1")
    assert canonical("x 'not closed") == [["x 'not closed"]]


def test_the_work_of_a_group_is_that_of_its_jobs():
    one, other = {"rule": "a", "wildcards": {"x": "1", "y": "2"}}, {"rule": "b", "wildcards": {}}

    assert work_of([one, other]) == work_of([other, {"rule": "a", "wildcards": {"y": "2", "x": "1"}}])
    assert works_in(work_of([one])) < works_in(work_of([one, other]))
