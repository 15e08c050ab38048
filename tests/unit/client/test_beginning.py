"""What a run says when it begins."""

import pytest

from snakemake_executor_azurebatch.jobs import JobRequest, NeededFile
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.ensure import Pool
from snakemake_executor_azurebatch.pools.formula import Bounds
from snakemake_executor_azurebatch.run.beginning import FirstUploads, on_what, uploads, where

ACCOUNT = "https://mine.westeurope.batch.azure.com"


def pool(**changes) -> Pool:
    return Pool("p1", 4, has_containers=True, created=True, **changes)


def test_where_it_runs():
    assert where(ACCOUNT, "smk-x", "example.org/image:1") == (
        "Batch account mine.westeurope.batch.azure.com, blob container smk-x, tasks in image example.org/image:1."
    )
    assert where(f"{ACCOUNT}/", "smk-x", None).endswith("blob container smk-x, tasks without containers.")


@pytest.mark.parametrize(
    ("nodes", "leased", "told"),
    [
        ((1, 0), None, "1 dedicated node"),
        ((2, 0), None, "2 dedicated nodes"),
        ((2, 1), None, "2 dedicated and 1 spot node"),
        ((0, 11), None, "11 spot nodes"),
        ((0, 0), None, "no nodes"),
        (None, None, "as many nodes as its formula says"),
        (None, Bounds(Span(max=4), Span(1, 10)), "0 to 4 dedicated and 1 to 10 spot nodes"),
        (None, Bounds(spot=Span(max=1)), "0 to 1 spot nodes"),
    ],
)
def test_which_nodes(nodes, leased, told):
    text = on_what("j1", pool(vm_size="Standard_D4s_v5", nodes=nodes), leased, is_left=False)

    assert text == f"Batch job j1 on pool p1 (new): Standard_D4s_v5, {told}."


def test_whose_job_it_was():
    there = Pool("p1", 4, has_containers=True, created=False, nodes=(1, 0))

    assert on_what("j1", there, None, is_left=True) == (
        "Batch job j1 of an earlier run on pool p1 (existing): 1 dedicated node."
    )


def test_uploads_in_words():
    assert uploads(3, []) == ""
    assert uploads(1, [17]) == "To be uploaded for the first job: 1 input file, at most 17 B."
    assert uploads(3, [1024, 1024]) == "To be uploaded for the first 3 jobs: 2 input files, at most 2.0 KiB."


def test_the_first_uploads_are_told_once_without_what_is_known(tmp_path):
    said, wants = [], []
    for name, size_bytes in (("new", 3), ("shared", 5), ("known", 7)):
        (tmp_path / name).write_bytes(b"x" * size_bytes)
        wants.append(NeededFile(name, tmp_path / name))
    new, shared, known = wants
    missing = NeededFile("missing", tmp_path / "missing")

    def job(key: str, *inputs: NeededFile) -> JobRequest:
        return JobRequest(key, "r", threads=1, runtime_s=None, script="", inputs=inputs)

    tell = FirstUploads(lambda want: want == known, said.append)
    tell([job("a", new, shared), job("b", shared, known, missing)])
    tell([job("c", new)])

    assert said == ["To be uploaded for the first 2 jobs: 2 input files, at most 8 B."]


def test_nothing_is_said_where_everything_is_known(tmp_path):
    said = []
    want = NeededFile("known", tmp_path / "known")

    FirstUploads(lambda _: True, said.append)([JobRequest("a", "r", 1, None, "", inputs=(want,))])

    assert said == []
