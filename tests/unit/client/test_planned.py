"""A plan as text, and the arguments that are no run's."""

from dataclasses import replace

import pytest
from snakemake.cli import parse_args

from snakemake_executor_azurebatch.cli.plan_text import lines_of
from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.planned.onlooker import OTHER_TASKS, look
from snakemake_executor_azurebatch.planned.plan import Plan
from snakemake_executor_azurebatch.planned.uploads import Uploads
from snakemake_executor_azurebatch.pools.planning import JobsRow, PoolRow

ROW = JobsRow(
    rule="align", members=(), jobs=3, final=2, lane="shell", lane_why="a shell command", image="tool:1",
    image_why="container:", staging="batch", staging_why="an image of its own", pool="small", pool_id="smk-small-1",
    vm_size="Standard_D4s_v5", slots=2, slots_per_node=4, pool_why="the cheapest of 2 pools that fit",
    retries=("attempt 2: pool memory, 4 of 8 slots",),
)  # fmt: skip
POOL = PoolRow("small", "smk-small-1", "Standard_D4s_v5", 3, 2, 1, 3, 1.9, 0.95)
PLAN = Plan((ROW,), (POOL,), {"all": 1}, Uploads(2, 3000, 1, 10, 4, 500), (), (), ())


def text_of(plan: Plan, unit_price: float | None = None, currency: str = "", width: int = 200) -> str:
    return "\n".join(lines_of(plan, unit_price, currency, width))


def test_the_whole_of_a_plan():
    assert text_of(PLAN) == (
        "align: 3 jobs\n"
        "  lane      shell: a shell command\n"
        "  image     tool:1: container:\n"
        "  files by  Azure Batch: an image of its own\n"
        "  pool      small (Standard_D4s_v5), 2 of 4 slots of a node: the cheapest of 2 pools that fit\n"
        "  retries   attempt 2: pool memory, 4 of 8 slots\n"
        "  may change, of 1: resources that depend on files which are not there yet were taken for small ones\n"
        "all: 1 job, in this process (a local rule)\n"
        "\n"
        "Pool small (id smk-small-1): 3 tasks on Standard_D4s_v5\n"
        "  nodes     at most 1 dedicated and 3 spot; 2 could work at once\n"
        "  price     about 1.9 per hour at most, 0.95 with what could work at once\n"
        "            (an hour of a dedicated Standard_D4s_v5 is 1; --unit-price says what that costs)\n"
        "\n"
        "To be uploaded: 2 input files, 2.9 KiB\n"
        "Not again, by this folder's index: 1 input file, 10 B\n"
        "Sources: 4 files, 500 B packed; once for each content"
    )


@pytest.mark.parametrize("width", [20, 31, 40, 80])
def test_it_is_as_wide_as_the_terminal(width):
    lines = list(lines_of(replace(PLAN, refused=("rule align: no " + "good " * 30,)), None, "", width))
    longest_word = max(len(word) for line in lines for word in line.split())
    assert max(map(len, lines)) <= max(width, 12 + longest_word)
    assert " ".join(" ".join(lines).split()).endswith("good")


def test_a_price_in_money_and_none():
    assert "about 0.38 EUR per hour at most, 0.19 EUR with" in text_of(PLAN, 0.2, "EUR")
    assert "--unit-price" not in text_of(PLAN, 0.2, "EUR")
    unknown = replace(PLAN, pools=(replace(POOL, price_per_hour_at_most=None, price_per_hour_useful=None),))
    assert "price     not known" in text_of(unknown)


def test_groups_refusals_and_what_is_not_known():
    group = replace(ROW, rule="both", members=("a", "b"), jobs=1, final=1, retries=(), pool="", vm_size="")
    text = text_of(replace(PLAN, rules=(group,), checkpoints=("split",), notes=("Note.",), refused=("no\nwhy",)))
    assert text.startswith("both: 1 group of a, b\n")
    assert "Not known yet: jobs that come after checkpoint split.\nNote.\n" in text
    assert text.endswith("This cannot run on Azure Batch as it is:\n  no\n  why")
    assert text_of(Plan((), (), {}, Uploads(), (), (), ())) == "Nothing to be done."


def test_snakemake_still_has_the_options_that_are_no_runs():
    _, args = parse_args(["--cores", "1"])
    assert [name for name in OTHER_TASKS if not hasattr(args, name)] == []


@pytest.mark.parametrize("option", ["--unlock", "--dag", "--lint", "--report", "--delete-all-output", "--summary"])
def test_what_is_no_run_is_refused_before_anything_happens(option):
    with pytest.raises(AzureBatchError, match=f"A plan is for the arguments of a run: leave out {option}"):
        look(["--cores", "1", option], lambda _: None)
