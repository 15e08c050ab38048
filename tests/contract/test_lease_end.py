"""The end of a run that leases pools: nodes are given back, as far as the service takes a change."""

from __future__ import annotations

from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.formula import Bounds, lines_of
from snakemake_executor_azurebatch.pools.lease import Terms
from snakemake_executor_azurebatch.run.lease_of_run import Lessee, PoolLease
from snakemake_executor_azurebatch.run.leasing import Farewell, Wants

from .conftest import pool, wait_until


def leased(batch, name, **options):
    """A pool that a run has made, with its lease."""
    said = []
    lease = PoolLease(Lessee(batch, "a", said.append, **options), name, Bounds(Span(0, 4), slots=1), [1, 1])
    request = pool(name)
    request.target_dedicated_nodes = None
    for member, value in lease.size().members().items():
        setattr(request, member, value)
    batch.create_pool(request)
    wait_until(lambda: batch.get_pool(name).allocation_state == "steady")
    return lease, said


def lines(batch, name):
    return [(line.run, line.nodes) for line in lines_of(batch.get_pool(name).auto_scale_formula)]


def test_nodes_are_given_back_at_the_end(batch, name):
    lease, said = leased(batch, name)
    wants = Wants()
    wants.opened({"x": 1, "y": 1})
    lease.start(wants, is_new=True)
    wants.closed(["x", "y"])
    lease.stop()
    assert lines(batch, name) == []
    assert batch.get_pool(name).target_dedicated_nodes == 0
    assert said == []


def test_more_jobs_get_more_nodes_and_a_hurried_end_leaves_them_to_the_lease(batch, name):
    lease, said = leased(batch, name)
    wants = Wants()
    lease.start(wants, is_new=True)
    wants.opened(dict.fromkeys("abc", 1))
    wait_until(lambda: lines(batch, name) == [("a", 3)])
    lease.hurry()
    lease.stop()  # a second change in half a minute is refused
    assert lines(batch, name) == [("a", 3)]
    assert said == [f"Pool {name} takes no change now: its nodes go within 10 minutes."]


def test_an_end_that_has_time_waits_and_gives_up(batch, name):
    lease, said = leased(batch, name, farewell=Farewell(0.5))
    wants = Wants()
    lease.start(wants, is_new=True)
    wants.opened(dict.fromkeys("abc", 1))
    wait_until(lambda: lines(batch, name) == [("a", 3)])
    lease.stop()
    assert [text.partition(",")[0] for text in said] == [
        f"Giving back the nodes of pool {name}",
        f"Pool {name} takes no change now: its nodes go within 10 minutes.",
    ]


def test_where_nodes_cost_nothing_they_stay_for_the_lease(batch, name):
    lease, said = leased(batch, name, gives_back=False)
    lease.start(Wants(), is_new=True)
    lease.stop()
    assert lines(batch, name) == [("a", 2)]
    assert said == []


def test_a_pool_that_was_there_gets_the_line_at_once(batch, name):
    leased(batch, name)
    other = PoolLease(Lessee(batch, "b", print, terms=Terms()), name, Bounds(Span(0, 4), slots=1), [])
    wants = Wants()
    wants.opened({"x": 1})
    other.start(wants, is_new=False)
    wait_until(lambda: lines(batch, name) == [("a", 2), ("b", 1)])
    assert batch.get_pool(name).target_dedicated_nodes == 3
    other.leave()


def test_a_pool_that_is_gone_is_told_once(batch, name):
    lease, said = leased(batch, name)
    batch.begin_delete_pool(name, polling_interval=0.02).result()
    wants = Wants()
    lease.start(wants, is_new=True)
    wants.opened(dict.fromkeys("abcd", 1))
    wait_until(lambda: said)
    assert said[0].startswith(f"Pool {name} could not be given nodes for now, trying again: ")
    lease.leave()
