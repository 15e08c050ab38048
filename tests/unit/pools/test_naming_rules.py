"""Pools that name rules: where their jobs, those of other rules, and groups go, and what is said where they cannot."""

from dataclasses import replace

import pytest

from snakemake_executor_azurebatch.pools.choose import Misfit, Placement, place
from snakemake_executor_azurebatch.pools.naming_rules import unused_patterns
from snakemake_executor_azurebatch.pools.needs import Needs
from snakemake_executor_azurebatch.run.placing import Placing
from tests.unit.pools.test_choose import GIB, pool
from tests.unit.pools.test_share import request

CHEAP = pool("cheap", "Standard_D4ds_v5")
BIG = pool("big", "Standard_E16ds_v5", rules=("align", "call_*"))
HUGE = pool("huge", "Standard_E32ds_v5", rules=("call_?",))
ALL = (CHEAP, BIG, HUGE)


def group(*rules: str, **needs) -> Needs:
    return Needs("both", members=rules, **needs)


@pytest.mark.parametrize(
    ("needs", "name", "why"),
    [
        (Needs("sort"), "cheap", "the only pool that fits"),
        (Needs("align"), "big", "named by rules of pool big ('align'), the only pool that fits"),
        (Needs("call_snps"), "big", "named by rules of pool big ('call_*'), the only pool that fits"),
        (Needs("call_2"), "big", "named by rules of pool big ('call_*'), the cheapest of 2 pools that fit"),
        (Needs("call_2", memory_mib=200 * GIB), "huge", "named by rules of pool huge ('call_?'), the only pool that"),
        (Needs("align", pool="cheap"), "cheap", "asked for (azurebatch_pool)"),
        (Needs("sort", pool="huge"), "huge", "asked for (azurebatch_pool)"),
        (Needs("Align"), "cheap", "the only pool that fits"),
        (group("align", "call_2", "align"), "big", "named by rules of pool big ('align', 'call_*'), the only pool"),
        (group("sort", "index"), "cheap", "the only pool that fits"),
        (
            Needs("call_2", vm_size="Standard_E32ds_v5"),
            "huge",
            "named by rules of pool huge ('call_?'), of size Standard_E32ds_v5 (azurebatch_vm_size), the only pool",
        ),
    ],
)
def test_where_a_job_goes(needs, name, why):
    found = place(needs, ALL)
    assert isinstance(found, Placement), found
    assert found.pool.pool == name
    assert found.why.startswith(why)


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        (
            Needs("align", cores=64),
            (
                "rule align needs 64 cores; the most that a node gives to tasks is 16 cores (pool big, "
                "Standard_E16ds_v5). Pools that name it in their rules: big ('align'); it goes to no other."
            ),
        ),
        (
            Needs("call_2", vm_size="Standard_D4ds_v5"),
            (
                "rule call_2: no pool is of VM size Standard_D4ds_v5 (azurebatch_vm_size); there are "
                "Standard_E16ds_v5, Standard_E32ds_v5. Pools that name it in their rules: big ('call_*'), huge "
                "('call_?'); it goes to no other."
            ),
        ),
        (
            group("sort", "align"),
            (
                "group both: its rules may go to no pool together: sort may go to cheap; align may go to big "
                "('align'). Name them in the rules of one pool."
            ),
        ),
        (
            group("align", "call_2", cores=20),
            (
                "rule both needs 20 cores; the most that a node gives to tasks is 16 cores (pool big, "
                "Standard_E16ds_v5). Pools that name its rules in their rules: big ('align', 'call_*'); it "
                "goes to no other."
            ),
        ),
    ],
)
def test_what_is_said_where_none_fits(needs, text):
    assert place(needs, ALL) == Misfit(text)


def test_a_rule_that_every_pool_leaves_out():
    assert place(Needs("sort"), (BIG, HUGE)) == Misfit(
        "rule sort: every pool is for other rules: big ('align', 'call_*'), huge ('call_?'). Name it in the rules of "
        "one, or leave rules out there."
    )
    assert place(group("sort", "align"), (BIG, HUGE)) == Misfit(
        "group both: its rules may go to no pool together: sort may go to none (every pool is for other rules); align "
        "may go to big ('align'). Name them in the rules of one pool."
    )


def test_the_rules_of_a_request():
    """Of a group, whose name is none of a rule."""
    members = ({"rule": "align", "wildcards": {}}, {"rule": "call_2", "wildcards": {}})
    placed = Placing(ALL).placed(replace(request(1), name="group", members=members))
    assert placed.share is not None
    assert placed.share.pool == "big"


def test_patterns_that_name_nothing():
    assert unused_patterns(["align", "call_2"], ["align", "call_*", "sort", "[ab]lign", "Align"]) == ["sort", "Align"]
