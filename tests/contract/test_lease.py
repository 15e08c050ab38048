"""A leased pool on the local service: what the service refuses, and what two runs make of one formula."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import models as m
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.formula import Bounds, formula_of, lines_of
from snakemake_executor_azurebatch.pools.lease import Ask
from snakemake_executor_azurebatch.pools.scaling import NotNow, RunsLine

from .conftest import pool, running_service, task, wait_until

BOUNDS = Bounds(Span(0, 6), Span(0, 2), slots=2)


@pytest.fixture
def client(tmp_path):
    """A service whose time the test moves on by itself."""
    timings = Timings(boot_s=0.02, settle_s=0.02, resize_s=0.02)
    with running_service(tmp_path, timings) as running, running.client() as quick:
        yield quick


def leased(client, name, line, ask):
    options = pool(name, slots=2)
    options.target_dedicated_nodes = None
    for member, value in line.first(ask).members().items():
        setattr(options, member, value)
    client.create_pool(options)
    wait_until(lambda: is_steady(client, name))


def is_steady(client, name):
    return client.get_pool(name).allocation_state == "steady"


def targets(client, name):
    found = client.get_pool(name)
    assert found.auto_scale_run.error is None, found.auto_scale_run.error
    return found.target_dedicated_nodes, found.target_low_priority_nodes


def line_of(client, name, run="a", lease_s=600.0):
    return RunsLine(client, name, run, BOUNDS, lease_s)


def test_a_new_pool_has_its_nodes_at_once(batch, name):
    leased(batch, name, line_of(batch, name), Ask(7, 14))
    assert targets(batch, name) == (6, 1)


def test_a_change_acts_at_once_and_a_second_has_to_wait(batch, name):
    """The interval is sent again: without it the formula would be looked at minutes later."""
    line = line_of(batch, name)
    leased(batch, name, line, Ask(1, 2))
    line.write(Ask(3, 6))
    assert targets(batch, name) == (3, 0)
    wait_until(lambda: is_steady(batch, name))
    with pytest.raises(NotNow) as refused:
        line.write(Ask(4, 8))
    assert refused.value.code == "TooManyEnableAutoScaleRequests"


def test_a_pool_that_is_being_resized_takes_no_change(frozen, name):
    line = line_of(frozen, name)
    options = pool(name)
    frozen.create_pool(options)
    with pytest.raises(NotNow) as refused:
        line.write(Ask(1, 1))
    assert refused.value.code == "PoolBeingResized"
    wanted = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes = 1;")
    with pytest.raises(Exception, match="PoolBeingResized"):  # the service says so too
        frozen.enable_pool_auto_scale(name, wanted)


def test_two_runs_add_their_shares_and_take_only_their_own_back(client, name):
    mine, other = line_of(client, name, "a"), line_of(client, name, "b")
    leased(client, name, mine, Ask(2, 4))
    other.write(Ask(3, 6))
    assert targets(client, name) == (5, 0)
    pass_time(client, 31)
    wait_until(lambda: is_steady(client, name))
    mine.remove()
    assert [line.run for line in lines_of(client.get_pool(name).auto_scale_formula)] == ["b"]
    assert targets(client, name) == (3, 0)


def test_who_was_slower_reads_again_and_loses_nothing(batch, name, monkeypatch):
    """The other run writes between this one's reading and its writing."""
    mine, other = line_of(batch, name, "a"), line_of(batch, name, "b")
    leased(batch, name, mine, Ask(1, 2))
    read, seen = batch.get_pool, []

    def get_pool(*arguments, **options):
        found = read(*arguments, **options)
        if not seen:
            seen.append(found.etag)
            # What changes the pool without being a change of its formula, which may come once in 30 s.
            batch.update_pool(name, m.BatchPoolUpdateOptions(metadata=[m.BatchMetadataItem(name="k", value="v")]))
        return found

    monkeypatch.setattr(batch, "get_pool", get_pool)
    other.write(Ask(2, 4))
    assert seen
    lines = lines_of(read(name).auto_scale_formula)
    assert [(line.run, line.nodes) for line in lines] == [("a", 1), ("b", 2)]


def test_a_lease_of_a_run_that_is_gone_ends_and_its_tasks_are_done_nevertheless(client, name):
    leased(client, name, line_of(client, name), Ask(4, 8))
    client.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    client.create_task(name, task("t", "while [ ! -e ../../../end ]; do sleep 0.05; done"))
    wait_until(lambda: client.get_task(name, "t").state == "running")
    pass_time(client, 660)
    pass_time(client, 300)
    wait_until(lambda: targets(client, name) == (1, 0))
    client.terminate_task(name, "t")
    wait_until(lambda: client.get_task(name, "t").state == "completed")
    pass_time(client, 60)
    pass_time(client, 300)
    wait_until(lambda: targets(client, name) == (0, 0) and not list(client.list_nodes(name)))


def test_the_lease_counts_in_the_services_time(client, name):
    """Whatever the clock of this machine says."""
    leased(client, name, line_of(client, name), Ask(1, 2))
    pass_time(client, 86_400)
    wait_until(lambda: is_steady(client, name))
    line_of(client, name).write(Ask(2, 4))
    (line,) = lines_of(client.get_pool(name).auto_scale_formula)
    assert line.until - datetime.now(UTC) > timedelta(days=1)
    assert targets(client, name) == (2, 0)


def test_a_fixed_pool_becomes_a_leased_one(batch, name):
    batch.create_pool(pool(name, nodes=3))
    wait_until(lambda: is_steady(batch, name))
    line_of(batch, name).write(Ask(1, 2))
    assert targets(batch, name) == (1, 0)


def test_a_formula_that_the_service_refuses_does_no_harm(batch, name):
    with pytest.raises(Exception, match=r"AutoScalingFormulaSyntaxError|InvalidAutoScalingSettings"):
        leased(batch, name, Broken(), Ask(1, 1))


class Broken:
    def first(self, ask):
        from snakemake_executor_azurebatch.pools.scaling import Leased

        return Leased(formula_of([], BOUNDS).replace("leased = 0;", "leased = ;"))


def pass_time(client, seconds):
    client.send_request(HttpRequest("POST", "/_admin/clock", json={"advanceSeconds": seconds})).raise_for_status()
