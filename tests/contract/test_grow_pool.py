"""A pool that an earlier run has made gets the nodes that this one can use."""

from __future__ import annotations

from snakemake_executor_azurebatch.pools.ensure import grow_pool

from .conftest import pool, wait_until


def _targets(batch, name):
    found = batch.get_pool(name)
    return (found.target_dedicated_nodes, found.target_low_priority_nodes)


def _is_steady(batch, name):
    return batch.get_pool(name).allocation_state.value == "steady"


def test_it_grows_and_never_shrinks(batch, name):
    batch.create_pool(pool(name, nodes=1))
    wait_until(lambda: _is_steady(batch, name))
    said = []
    grow_pool(batch, batch.get_pool(name), (2, 1), said.append)
    assert _targets(batch, name) == (2, 1)
    wait_until(lambda: _is_steady(batch, name))
    grow_pool(batch, batch.get_pool(name), (1, 0), said.append)
    assert _targets(batch, name) == (2, 1)
    assert said == []


def test_a_pool_that_is_being_resized_is_left_as_it_is(frozen, name):
    frozen.create_pool(pool(name, nodes=1))
    said = []
    grow_pool(frozen, frozen.get_pool(name), (4, 0), said.append)
    assert _targets(frozen, name) == (1, 0)
    assert said == [f"Pool {name} is being resized, and keeps the nodes that it gets."]
