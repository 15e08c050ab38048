"""When a run changes its line, and to what: a run in simulated time."""

from dataclasses import replace

import pytest

from snakemake_executor_azurebatch.pools.lease import (
    Ask,
    Demand,
    Held,
    Terms,
    beside_broken,
    look,
    refused,
    wanted_first,
    written,
)

TERMS = Terms()
HELD = Held(nodes=4, tasks=16, changed_s=0.0)
MOST = 20


def seen(held, demands, *, most=MOST):
    """Looks every 2 s; demands: (until, demand). What was asked for and when, all of it taken."""
    asked, now_s = [], 0.0
    for until_s, demand in demands:
        while now_s < until_s:
            held, ask = look(held, demand, now_s, most, TERMS)
            if ask is not None:
                asked.append((now_s, ask))
                held = written(ask, now_s)
            now_s += 2
    return asked


def test_more_is_asked_for_at_once():
    assert look(Held(), Demand(3, 9), 0.0, MOST, TERMS)[1] == Ask(3, 9)


@pytest.mark.parametrize(
    ("demand", "first"),
    [(Demand(0, 0), Demand(3, 9)), (Demand(1, 4, 2), Demand(3, 9, 2)), (Demand(5, 20), Demand(5, 20))],
)
def test_the_first_line_is_for_all_that_is_ready(demand, first):
    assert wanted_first(demand, Ask(3, 9)) == first
    assert not Held().is_written
    assert written(Ask(3, 9), 0.0).is_written


def test_two_changes_are_half_a_minute_apart():
    asked = seen(Held(), [(1, Demand(1, 4)), (200, Demand(9, 36))])
    assert asked[:2] == [(0.0, Ask(1, 4)), (32.0, Ask(9, 36))]


def test_less_is_asked_for_when_it_has_lasted():
    assert seen(HELD, [(60, Demand(4, 16)), (160, Demand(1, 4))]) == [(150.0, Ask(1, 4))]


def test_a_gap_between_two_waves_gives_nothing_back():
    assert seen(HELD, [(60, Demand(4, 16)), (120, Demand(0, 0)), (190, Demand(4, 16))]) == []


def test_of_what_was_wanted_meanwhile_the_most_is_kept():
    assert seen(HELD, [(10, Demand(1, 4)), (20, Demand(3, 12)), (100, Demand(2, 8))]) == [(90.0, Ask(3, 8))]


def test_nodes_that_run_a_task_are_not_given_back():
    """Four nodes, each with one of the last four tasks, which would fit on one."""
    assert seen(HELD, [(190, Demand(1, 4, busy_nodes=4))]) == []
    assert seen(HELD, [(95, Demand(1, 4, busy_nodes=2))]) == [(90.0, Ask(2, 4))]


def test_busy_nodes_of_others_are_not_leased():
    assert look(HELD, Demand(4, 16, busy_nodes=18), 40.0, MOST, TERMS)[1] is None


def test_a_lease_is_renewed_before_a_third_of_it_is_over():
    asked = seen(HELD, [(1000, Demand(4, 16))])
    assert [at for at, _ in asked] == [200.0, 400.0, 600.0, 800.0]
    assert {ask for _, ask in asked} == {Ask(4, 16)}


def test_more_than_the_pool_may_have_is_not_asked_for_again_and_again():
    assert seen(replace(HELD, nodes=30), [(190, Demand(50, 200))], most=MOST) == []


def test_a_line_that_is_due_is_written_again_as_soon_as_possible():
    held = replace(HELD, is_due=True)
    assert look(held, Demand(4, 16), 30.0, MOST, TERMS)[1] is None
    assert look(held, Demand(4, 16), 32.0, MOST, TERMS)[1] == Ask(4, 16)
    assert not written(Ask(4, 16), 32.0).is_due


@pytest.mark.parametrize(("refusals", "pause_s"), [(0, 2), (1, 4), (2, 8), (4, 32), (5, 60), (9, 60)])
def test_a_refusal_is_waited_for_ever_longer(refusals, pause_s):
    held = refused(replace(HELD, refusals=refusals), 100.0, TERMS)
    assert look(held, Demand(9, 36), 100.0 + pause_s - 1, MOST, TERMS)[1] is None
    assert look(held, Demand(9, 36), 100.0 + pause_s, MOST, TERMS)[1] == Ask(9, 36)


@pytest.mark.parametrize(
    ("demand", "nodes"), [(Demand(3, 9), 3), (Demand(3, 9, 1, broken_nodes=2), 5), (Demand(0, 0, broken_nodes=2), 0)]
)
def test_nodes_are_asked_for_beside_those_that_are_broken_and_stay(demand, nodes):
    assert beside_broken(demand).nodes == nodes


def test_what_is_asked_for_beside_broken_nodes_is_no_more_than_the_pool_may_have():
    held = Held(nodes=MOST, tasks=80, changed_s=0.0)
    assert look(held, beside_broken(Demand(MOST, 80, broken_nodes=2)), 40.0, MOST, TERMS)[1] is None
