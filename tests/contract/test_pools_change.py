"""Changing pools: properties, sizes, nodes; and what prevents it."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest

from .conftest import code_of, pool, refusal, values_of, wait_until

QUICK = {"polling_interval": 0.02}
NOBODY = "no-such-pool"


def _steady(batch, name):
    wait_until(lambda: batch.get_pool(name).allocation_state == m.AllocationState.STEADY)
    return batch.get_pool(name)


def _nodes(batch, name, count=1):
    wait_until(lambda: [node.state for node in batch.list_nodes(name)] == ["idle"] * count)
    return [node.id for node in batch.list_nodes(name)]


def _post(batch, path, body=None, version="2025-06-01"):
    request = HttpRequest("POST", f"{path}?api-version={version}", json=body)
    return batch.send_request(request)


def _metadata(**items):
    return [m.BatchMetadataItem(name=name, value=value) for name, value in items.items()]


# -- creation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task_slots_per_node": 257}, "taskSlotsPerNode"),
        ({"task_slots_per_node": 0}, "taskSlotsPerNode"),
        ({"display_name": "x" * 1025}, "displayName"),
        ({"target_dedicated_nodes": -1}, "targetDedicatedNodes"),
        ({"resize_timeout": "PT4M59S"}, "resizeTimeout"),
        ({"start_task": m.BatchStartTask(command_line="x", max_task_retry_count=-2)}, "maxTaskRetryCount"),
    ],
)
def test_values_out_of_range_are_refused(batch, name, options, named):
    wanted = pool(name, nodes=0)
    for attribute, value in options.items():
        setattr(wanted, attribute, value)
    with pytest.raises(HttpResponseError) as refused:
        batch.create_pool(wanted)
    assert (code_of(refused), values_of(refused)["PropertyName"]) == ("InvalidPropertyValue", named)


def test_metadata_needs_names_and_packages_need_applications(batch, name):
    with pytest.raises(HttpResponseError) as refused:
        batch.create_pool(pool(name, metadata=[m.BatchMetadataItem(name="", value="x")]))
    assert code_of(refused) == "EmptyMetadataKey"
    packages = [m.BatchApplicationPackageReference(application_id="blender")]
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_pool(pool(name, application_package_references=packages))
    assert code_of(refused) == "InvalidApplicationPackageReferences"


def test_settings_of_machines_are_stored_without_passwords(batch, name):
    wanted = pool(name, nodes=0)
    machine = wanted.virtual_machine_configuration
    machine.os_disk = m.BatchOsDisk(
        ephemeral_os_disk_settings=m.BatchDiffDiskSettings(placement=m.DiffDiskPlacement.CACHE_DISK)
    )
    machine.container_configuration = m.BatchContainerConfiguration(
        type="dockerCompatible",
        container_image_names=["busybox"],
        container_registries=[
            m.ContainerRegistryReference(registry_server="r.example", username="u", password="a secret")
        ],
    )
    batch.create_pool(wanted)
    registry = m.ContainerRegistryReference(registry_server="s.example", username="v", password="another secret")
    settings = m.BatchTaskContainerSettings(image_name="busybox", registry=registry)
    batch.update_pool(
        name,
        m.BatchPoolUpdateOptions(start_task=m.BatchStartTask(command_line="x", container_settings=settings)),
    )
    assert batch.get_pool(name).as_dict()["startTask"]["containerSettings"] == {
        "imageName": "busybox",
        "registry": {"registryServer": "s.example", "username": "v"},
    }
    shown = batch.get_pool(name).as_dict()["virtualMachineConfiguration"]
    assert shown["osDisk"]["ephemeralOSDiskSettings"] == {"placement": "cachedisk"}
    assert shown["containerConfiguration"]["containerRegistries"] == [{"registryServer": "r.example", "username": "u"}]
    assert shown["containerConfiguration"]["containerImageNames"] == ["busybox"]


def test_statistics_may_be_asked_for(batch, name):
    batch.create_pool(pool(name, nodes=0))
    assert "stats" not in batch.get_pool(name, expand=["stats"]).as_dict()
    assert name in [found.id for found in batch.list_pools(expand=["stats"])]
    with pytest.raises(HttpResponseError) as refused:
        batch.get_pool(name, expand=["nodes"])
    assert (code_of(refused), values_of(refused)["Reason"]) == (
        "InvalidQueryParameterValue",
        "Only stats can be expanded",
    )


# -- properties -----------------------------------------------------------------------------------


def test_patch_changes_what_is_given(batch, name):
    batch.create_pool(pool(name, nodes=0, metadata=_metadata(a="1")))
    before = batch.get_pool(name)
    batch.update_pool(name, m.BatchPoolUpdateOptions(start_task=m.BatchStartTask(command_line="x")))
    after = batch.get_pool(name)
    assert after.metadata == before.metadata
    assert after.etag != before.etag
    assert after.start_task.as_dict() == {
        "commandLine": "x",
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
        "maxTaskRetryCount": 0,
        "waitForSuccess": True,
    }
    batch.update_pool(
        name, m.BatchPoolUpdateOptions(vm_size="STANDARD_D4_v3", task_slots_per_node=4, metadata=[], display_name="d")
    )
    found = batch.get_pool(name)
    assert (found.vm_size, found.task_slots_per_node, found.metadata, found.display_name) == (
        "standard_d4_v3",
        4,
        [],
        "d",
    )
    assert found.start_task.command_line == "x"


def test_a_pool_with_nodes_keeps_its_kind(batch, name):
    batch.create_pool(pool(name, nodes=1))
    _nodes(batch, name)
    batch.update_pool(name, m.BatchPoolUpdateOptions(metadata=_metadata(a="2")))
    with pytest.raises(ResourceExistsError) as refused:
        batch.update_pool(name, m.BatchPoolUpdateOptions(task_slots_per_node=4))
    assert code_of(refused) == "OperationInvalidForCurrentState"


def test_updateproperties_replaces_everything_that_can_change(batch, name):
    batch.create_pool(pool(name, nodes=0, metadata=_metadata(a="1"), start_task=m.BatchStartTask(command_line="x")))
    batch.replace_pool_properties(
        name, m.BatchPoolReplaceOptions(application_package_references=[], metadata=_metadata(b="2"))
    )
    found = batch.get_pool(name)
    assert ([(item.name, item.value) for item in found.metadata], found.start_task) == ([("b", "2")], None)


def test_updateproperties_in_other_words(batch, name):
    batch.create_pool(pool(name, nodes=0))
    path = f"/pools/{name}/updateproperties"
    body = {"applicationPackageReferences": [], "metadata": [], "certificateReferences": []}
    assert _post(batch, path, body, "2024-02-01.19.0").status_code == 204
    assert _post(batch, path, body).status_code == 204
    with pytest.raises(HttpResponseError) as refused:
        _post(batch, path, {"metadata": []})
    assert refusal(refused) == (400, "MissingRequiredProperty")


def test_conditions(batch, name):
    batch.create_pool(pool(name, nodes=0))
    old = _steady(batch, name).etag
    batch.update_pool(
        name, m.BatchPoolUpdateOptions(metadata=[]), etag=old, match_condition=MatchConditions.IfNotModified
    )
    for change in (
        lambda **condition: batch.update_pool(name, m.BatchPoolUpdateOptions(metadata=[]), **condition),
        lambda **condition: batch.begin_resize_pool(name, m.BatchPoolResizeOptions(), **condition),
        lambda **condition: batch.begin_delete_pool(name, **condition),
        lambda **condition: batch.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=["x"]), **condition),
        lambda **condition: batch.begin_stop_pool_resize(name, **condition),
    ):
        with pytest.raises(ResourceModifiedError) as refused:
            change(etag=old, match_condition=MatchConditions.IfNotModified)
        assert code_of(refused) == "ConditionNotMet"


# -- sizes ----------------------------------------------------------------------------------------


def test_stopping_a_resize_is_seen_and_leaves_an_error(frozen, batch, name):
    frozen.create_pool(pool(name, nodes=3))
    before = frozen.get_pool(name).etag
    answer = _post(frozen, f"/pools/{name}/stopresize")
    assert (answer.status_code, answer.headers["ETag"]) == (202, before)
    found = frozen.get_pool(name)
    assert (found.allocation_state, found.target_dedicated_nodes) == (m.AllocationState.STOPPING, 3)
    with pytest.raises(ResourceExistsError) as refused:
        frozen.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=1))
    assert code_of(refused) == "PoolBeingResized"

    batch.create_pool(pool(name, nodes=0))
    _steady(batch, name)
    with pytest.raises(ResourceExistsError) as refused:
        batch.begin_stop_pool_resize(name, **QUICK)
    assert code_of(refused) == "OperationInvalidForCurrentState"


def test_a_stopped_resize_is_steady_with_its_targets(bench):
    batch, name = bench.batch, bench.id
    bench.add("t", "exec sleep 600")
    bench.wait_for("t", "running")
    down = m.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option="taskcompletion")
    assert _post(batch, f"/pools/{name}/resize", down.as_dict()).status_code == 202
    batch.begin_stop_pool_resize(name, **QUICK).result()
    found = batch.get_pool(name)
    assert (found.target_dedicated_nodes, found.current_dedicated_nodes) == (0, 1)
    [error] = found.resize_errors
    assert error.code == "ResizeStopped"
    assert bench.state("t") == "running"
    batch.begin_resize_pool(name, m.BatchPoolResizeOptions(target_dedicated_nodes=1), **QUICK).result()
    assert batch.get_pool(name).resize_errors is None


def test_resize_with_a_timeout(batch, name):
    batch.create_pool(pool(name, nodes=0))
    _steady(batch, name)
    options = m.BatchPoolResizeOptions(target_low_priority_nodes=1, resize_timeout="PT06M00S")
    batch.begin_resize_pool(name, options, **QUICK).result()
    found = batch.get_pool(name)
    assert (found.as_dict()["resizeTimeout"], found.current_low_priority_nodes) == ("PT6M", 1)
    with pytest.raises(HttpResponseError) as refused:
        batch.begin_resize_pool(name, m.BatchPoolResizeOptions(resize_timeout="PT1M"), **QUICK)
    assert (code_of(refused), values_of(refused)["PropertyName"]) == ("InvalidPropertyValue", "resizeTimeout")


def test_remove_nodes(batch, name):
    batch.create_pool(pool(name, nodes=3))
    first, second, third = _nodes(batch, name, 3)
    batch.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=[first, third]), **QUICK).result()
    found = batch.get_pool(name)
    assert (found.target_dedicated_nodes, found.current_dedicated_nodes) == (1, 1)
    assert [node.id for node in batch.list_nodes(name)] == [second]
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=[first]), **QUICK)
    assert code_of(missing) == "NodeNotFound"


@pytest.mark.parametrize("node_ids", [[], [f"n{number}" for number in range(101)]])
def test_at_most_100_nodes_are_removed_at_once(batch, name, node_ids):
    batch.create_pool(pool(name, nodes=0))
    _steady(batch, name)
    with pytest.raises(HttpResponseError) as refused:
        batch.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=node_ids), **QUICK)
    assert (code_of(refused), values_of(refused)["PropertyName"]) == ("InvalidPropertyValue", "nodeList")


@pytest.mark.parametrize(
    ("option", "state"), [("requeue", "active"), ("terminate", "completed"), ("retaineddata", "completed")]
)
def test_removing_a_node_treats_its_tasks_as_asked(bench, tmp_path, option, state):
    gate = tmp_path / "gate"
    bench.add("t", f"until [ -e {gate} ]; do sleep 0.02; done")
    node_id = bench.wait_for("t", "running").node_info.node_id
    options = m.BatchNodeRemoveOptions(node_ids=[node_id], node_deallocation_option=option)
    poller = bench.batch.begin_remove_nodes(bench.id, options, **QUICK)
    if option == "retaineddata":
        wait_until(lambda: [node.state for node in bench.batch.list_nodes(bench.id)] == ["leavingpool"])
        gate.touch()
    poller.result()
    assert bench.state("t") == state
    assert list(bench.batch.list_nodes(bench.id)) == []


def test_a_resizing_pool_loses_no_nodes(frozen, name):
    frozen.create_pool(pool(name))
    with pytest.raises(ResourceExistsError) as refused:
        frozen.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=["x"]))
    assert code_of(refused) == "PoolBeingResized"


def test_a_deleting_pool_cannot_be_changed_in_any_way(frozen, name):
    frozen.create_pool(pool(name))
    assert frozen.send_request(HttpRequest("DELETE", f"/pools/{name}?api-version=2025-06-01")).status_code == 202
    replacement = m.BatchPoolReplaceOptions(application_package_references=[], metadata=[])
    for change in (
        lambda: frozen.update_pool(name, m.BatchPoolUpdateOptions(metadata=[])),
        lambda: frozen.replace_pool_properties(name, replacement),
        lambda: frozen.begin_stop_pool_resize(name),
        lambda: frozen.begin_remove_nodes(name, m.BatchNodeRemoveOptions(node_ids=["x"])),
        lambda: frozen.enable_pool_auto_scale(name, m.BatchPoolEnableAutoScaleOptions(auto_scale_formula="")),
        lambda: frozen.disable_pool_auto_scale(name),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert "(PoolBeingDeleted) The specified pool has been marked for deletion" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch.update_pool(NOBODY, m.BatchPoolUpdateOptions(metadata=[])),
        lambda batch: batch.begin_resize_pool(NOBODY, m.BatchPoolResizeOptions(target_dedicated_nodes=1)),
        lambda batch: batch.begin_stop_pool_resize(NOBODY),
        lambda batch: batch.begin_remove_nodes(NOBODY, m.BatchNodeRemoveOptions(node_ids=["x"])),
        lambda batch: batch.begin_delete_pool(NOBODY),
        lambda batch: batch.disable_pool_auto_scale(NOBODY),
        lambda batch: list(batch.list_nodes(NOBODY)),
    ],
)
def test_a_pool_that_is_not_there(batch, change):
    with pytest.raises(ResourceNotFoundError) as missing:
        change(batch)
    assert "(PoolNotFound) The specified pool does not exist." in str(missing.value)
