"""Pools and their nodes."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from .conftest import code_of, pool, wait_until


def _states(batch, pool_id):
    return sorted(node.state.value for node in batch.list_nodes(pool_id))


def _send(batch, method, path):
    # not begin_*: its poller would go on asking behind the test's back
    return batch.send_request(HttpRequest(method, f"{path}?api-version=2025-06-01"))


def test_a_new_pool_shows_the_defaults_and_resizes_at_once(frozen, name):
    frozen.create_pool(
        pool(
            name,
            nodes=0,
            metadata=[m.BatchMetadataItem(name="run", value="7")],
            user_accounts=[m.UserAccount(name="u", password="a secret")],
        )
    )
    found = frozen.get_pool(name)
    assert found.allocation_state == m.AllocationState.RESIZING
    assert found.vm_size == "standard_d2_v3"
    shown = found.as_dict()
    assert shown["taskSchedulingPolicy"] == {"nodeFillType": "Spread", "jobDefaultOrder": "none"}
    assert (shown["resizeTimeout"], shown["taskSlotsPerNode"]) == ("PT15M", 1)
    assert (shown["enableAutoScale"], shown["enableInterNodeCommunication"]) == (False, False)
    assert shown["virtualMachineConfiguration"]["imageReference"]["version"] == "latest"
    assert shown["metadata"] == [{"name": "run", "value": "7"}]
    assert shown["userAccounts"] == [{"name": "u"}]


def test_a_resizing_pool_cannot_be_resized(frozen, name):
    frozen.create_pool(pool(name))
    with pytest.raises(ResourceExistsError) as refused:
        frozen.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=4))
    assert code_of(refused) == "PoolBeingResized"


def test_nodes_come_up(batch, name):
    options = pool(name, nodes=2, slots=4)
    options.target_low_priority_nodes = 1
    batch.create_pool(options)
    wait_until(lambda: _states(batch, name) == ["idle", "idle", "idle"])
    nodes = list(batch.list_nodes(name))
    assert sorted(node.is_dedicated for node in nodes) == [False, True, True]
    node = batch.get_node(name, nodes[0].id)
    assert node.affinity_id == f"TVM:{node.id}"
    assert node.url.endswith(f"/pools/{name}/nodes/{node.id}")
    assert (node.running_tasks_count, node.total_tasks_run) == (0, 0)
    found = batch.get_pool(name)
    assert (found.current_dedicated_nodes, found.current_low_priority_nodes) == (2, 1)
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_node(name, "nobody")
    assert code_of(missing) == "NodeNotFound"


def test_exists(batch, name):
    with pytest.raises(ResourceNotFoundError):  # what azure-batch 15.1 makes of the documented 404
        batch.pool_exists(name)
    batch.create_pool(pool(name, nodes=0))
    assert batch.pool_exists(name) is True
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_pool(pool(name.upper(), nodes=0))
    assert "(PoolExists) The specified pool already exists." in str(refused.value)


def test_resize_up_and_down(batch, name):
    batch.create_pool(pool(name, nodes=1))
    wait_until(lambda: batch.get_pool(name).allocation_state == m.AllocationState.STEADY)
    poller = batch.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=3), polling_interval=0.02)
    poller.result()
    assert batch.get_pool(name).current_dedicated_nodes == 3
    batch.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=1), polling_interval=0.02).result()
    assert batch.get_pool(name).current_dedicated_nodes == 1
    assert len(list(batch.list_nodes(name))) == 1


def test_delete_is_seen_and_ends(batch, name, service):
    batch.create_pool(pool(name, nodes=1))
    wait_until(lambda: _states(batch, name) == ["idle"])
    assert (service.config.nodes_dir / name).exists()
    poller = batch.begin_delete_pool(name, polling_interval=0.02)
    assert poller.status() in ("InProgress", "Succeeded")
    poller.result()
    with pytest.raises(ResourceNotFoundError):
        batch.get_pool(name)
    assert not list((service.config.nodes_dir / name).iterdir())


def test_a_deleting_pool_cannot_be_changed(frozen, name):
    frozen.create_pool(pool(name))
    _send(frozen, "DELETE", f"/pools/{name}")
    found = frozen.get_pool(name)
    assert (found.state, found.allocation_state) == (m.BatchPoolState.DELETING, m.AllocationState.RESIZING)
    assert found.target_dedicated_nodes == 0
    for change in (
        lambda: frozen.create_pool(pool(name)),
        lambda: frozen.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=4)),
        lambda: _send(frozen, "DELETE", f"/pools/{name}"),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == "PoolBeingDeleted"


def test_a_deleted_pool_gives_its_tasks_back(batch, bench):
    bench.add("t", "[ -e $AZ_BATCH_NODE_SHARED_DIR/again ] || exec sleep 600")
    before = bench.wait_for("t", "running")
    batch.begin_delete_pool(bench.id, polling_interval=0.02).result()
    waiting = bench.wait_for("t", "active")
    assert waiting.execution_info.requeue_count == 1
    assert waiting.node_info is None
    batch.create_pool(pool(bench.id))
    again = bench.wait_for("t", "running")
    assert again.node_info.node_id != before.node_info.node_id


@pytest.mark.parametrize(("option", "state"), [("requeue", "active"), ("terminate", "completed")])
def test_resize_down_treats_running_tasks_as_asked(batch, bench, option, state):
    bench.add("t", "exec sleep 600")
    bench.wait_for("t", "running")
    batch.begin_resize_pool(
        bench.id,
        m.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option=option),
        polling_interval=0.02,
    ).result()
    assert bench.state("t") == state


def test_resize_down_can_wait_for_tasks(batch, bench, tmp_path):
    gate = tmp_path / "gate"
    bench.add("t", f"until [ -e {gate} ]; do sleep 0.02; done")
    bench.wait_for("t", "running")
    options = m.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option="taskcompletion")
    poller = batch.begin_resize_pool(bench.id, options, polling_interval=0.02)
    wait_until(lambda: _states(batch, bench.id) == ["leavingpool"])
    gate.touch()
    poller.result()
    assert bench.wait_for("t").execution_info.exit_code == 0
    assert _states(batch, bench.id) == []
