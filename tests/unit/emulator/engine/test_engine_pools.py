"""Pools and nodes in the engine."""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import events, instructions

from .conftest import ENDED


def _states(world):
    return [node.wire["state"] for node in world.nodes()]


def test_a_new_pool_resizes_then_has_nodes_that_boot(world):
    pool = world.add_pool(nodes=2, low=1)
    assert (pool.wire["allocationState"], pool.nodes) == ("resizing", {})
    [later] = world.take(instructions.Later)
    world.feed(later.event)
    assert (pool.wire["allocationState"], _states(world)) == ("steady", ["creating"] * 3)
    assert (pool.wire["currentDedicatedNodes"], pool.wire["currentLowPriorityNodes"]) == (2, 1)
    first = world.take(instructions.BootNode)[0]
    world.feed(events.NodeStarting(first.pool_key, first.node_id))
    assert _states(world)[0] == "starting"
    world.feed(events.NodeReady(first.pool_key, first.node_id))
    assert _states(world)[0] == "idle"


def test_node_ids_are_as_documented_and_differ(world):
    world.add_pool(nodes=2, low=1)
    world.settle()
    ids = [node.id for node in world.nodes()]
    assert len(set(ids)) == 3
    assert [node_id[-2:] for node_id in ids] == ["_d", "_d", "_p"]
    assert all(node_id.startswith("tvmps_") and len(node_id) == 72 for node_id in ids)


def test_idle_nodes_leave_before_busy_ones_and_new_before_old(world):
    pool = world.add_pool(nodes=3)
    world.settle()
    job = world.add_job()
    world.add_tasks(job, "a")  # on the first node
    busy, old, new = world.nodes()
    assert busy.wire["state"] == "running"
    world.feed(events.PoolResized("p", 2, 0))
    assert new.is_leaving
    assert not old.is_leaving
    world.settle()
    world.feed(events.PoolResized("p", 1, 0))
    world.settle()
    assert world.nodes() == [busy]
    assert pool.wire["allocationState"] == "steady"


def test_a_node_leaves_after_its_last_run(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.PoolResized("p", 0, 0, "requeue"))
    [stop] = ready.take(instructions.StopRun)
    ready.settle()
    assert [node.wire["state"] for node in ready.nodes()] == ["leavingpool"]
    assert ready.state.pools["p"].wire["allocationState"] == "resizing"
    ready.end(stop.run, None, ENDED)
    assert task.state == "active"
    assert task.wire["executionInfo"]["requeueCount"] == 1
    ready.settle()
    assert ready.nodes() == []
    assert ready.state.pools["p"].wire["allocationState"] == "steady"


def test_a_task_that_finished_while_it_was_to_be_requeued_has_finished(ready):
    [task] = ready.add_tasks(ready.add_job(), "a")
    ready.feed(events.PoolResized("p", 0, 0, "requeue"))
    ready.end(task.run, 0)
    assert (task.state, task.wire["executionInfo"]["result"]) == ("completed", "success")


def test_a_leaving_node_takes_no_task(ready):
    job = ready.add_job()
    [first] = ready.add_tasks(job, "a")
    ready.feed(events.PoolResized("p", 0, 0, "taskcompletion"))
    assert ready.take(instructions.StopRun) == []
    ready.started()
    ready.add_tasks(job, "b")
    assert ready.started() == []
    ready.end(first.run)
    ready.settle()
    assert ready.nodes() == []


def test_a_node_that_still_boots_can_leave(world):
    world.add_pool(nodes=1)
    [later] = world.take(instructions.Later)
    world.feed(later.event)
    [boot] = world.take(instructions.BootNode)
    world.feed(events.PoolDeleted("p"))
    world.feed(events.NodeReady(boot.pool_key, boot.node_id))
    assert _states(world) == ["leavingpool"]
    world.settle()
    assert world.state.pools == {}
    world.feed(events.NodeReady(boot.pool_key, boot.node_id))  # a late timer


def test_a_deleted_pool_is_seen_deleting_first(ready):
    pool = ready.state.pools["p"]
    ready.feed(events.PoolDeleted("p"))
    assert (pool.wire["state"], pool.wire["allocationState"]) == ("deleting", "resizing")
    assert pool.wire["targetDedicatedNodes"] == 0
    for instruction in ready.take(instructions.CloseNode):
        ready.feed(events.NodeGone(instruction.pool_key, instruction.node_id))
    assert "p" in ready.state.pools  # its settling is still due
    ready.settle()
    assert ready.state.pools == {}


def test_tasks_outlive_their_pool(ready):
    job = ready.add_job()
    [task] = ready.add_tasks(job, "a")
    ready.feed(events.PoolDeleted("p"))
    ready.end(task.run, None, ENDED)
    ready.settle()
    assert (task.state, "nodeInfo" in task.wire) == ("active", False)
    ready.add_pool("P", slots=1)
    ready.settle()
    assert task.state == "running"
