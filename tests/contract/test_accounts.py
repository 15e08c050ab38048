"""Operations of the account: node counts, images, usage, applications."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from .conftest import code_of, pool, running_service, values_of, wait_until

COUNTERS = {
    "creating", "deallocated", "deallocating", "idle", "leavingPool", "offline", "preempted", "rebooting", "reimaging",
    "running", "starting", "startTaskFailed", "unusable", "unknown", "upgradingOS", "waitingForStartTask", "total",
}  # fmt: skip


def test_node_counts(batch, bench):
    bench.add("t", "exec sleep 600")
    bench.wait_for("t", "running")
    [counts] = batch.list_pool_node_counts(filter=f"poolId eq '{bench.id}'")
    shown = counts.as_dict()
    assert set(shown) == {"poolId", "dedicated", "lowPriority"}
    assert set(shown["dedicated"]) == set(shown["lowPriority"]) == COUNTERS
    assert (shown["dedicated"]["running"], shown["dedicated"]["total"]) == (1, 1)
    assert set(shown["lowPriority"].values()) == {0}
    [node] = batch.list_nodes(bench.id)
    batch.disable_node_scheduling(
        bench.id, node.id, m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="terminate")
    )
    wait_until(lambda: next(iter(batch.list_pool_node_counts(filter=f"poolId eq '{bench.id}'"))).dedicated.offline)
    assert bench.id in [one.pool_id for one in batch.list_pool_node_counts(max_results=2)]
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_pool_node_counts(filter="state eq 'idle'"))
    assert (code_of(refused), values_of(refused)["QueryParameterName"]) == ("InvalidQueryParameterValue", "$filter")


def test_supported_images(batch):
    images = list(batch.list_supported_images())
    docker = {image.node_agent_sku_id for image in images if "DockerCompatible" in (image.capabilities or ())}
    assert {"batch.node.ubuntu 22.04", "batch.node.ubuntu 24.04"} <= docker
    assert all(image.image_reference.version == "latest" for image in images)
    assert any(image.batch_support_end_of_life for image in images)
    for text, holds in (
        ("osType eq 'windows'", lambda image: image.os_type == m.OSType.WINDOWS),
        ("verificationType ne 'verified'", lambda image: image.verification_type == m.ImageVerificationType.UNVERIFIED),
        ("nodeAgentSKUId eq 'batch.node.ubuntu 24.04'", lambda image: image.node_agent_sku_id.endswith("24.04")),
    ):
        found = list(batch.list_supported_images(filter=text))
        assert found == [image for image in images if holds(image)]
        assert found
    paged = list(batch.list_supported_images(max_results=3))
    assert paged == images
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_supported_images(filter="startswith(osType,'l')"))
    assert code_of(refused) == "InvalidQueryParameterValue"


def test_usage_of_pools(tmp_path):
    with running_service(tmp_path) as running, running.client() as batch:
        assert list(batch.list_pool_usage_metrics()) == []
        batch.create_pool(pool("a", nodes=2))
        batch.create_pool(pool("b", nodes=0))
        wait_until(lambda: [node.state for node in batch.list_nodes("a")] == ["idle"] * 2)
        batch.send_request(HttpRequest("POST", "/_admin/clock", json={"advanceSeconds": 2 * 3600}))
        found = {one.pool_id: one for one in batch.list_pool_usage_metrics()}
        assert found["a"].end_time - found["a"].start_time == timedelta(minutes=30)
        assert found["a"].total_core_hours == pytest.approx(2.0)  # two nodes with two cores, half an hour
        assert found["b"].total_core_hours == 0
        assert found["a"].vm_size == "standard_d2_v3"
        more = list(batch.list_pool_usage_metrics(start_time=found["a"].start_time - timedelta(hours=1)))
        assert len({one.start_time for one in more}) == 3
        only = batch.list_pool_usage_metrics(filter="startswith(poolId,'b')")
        assert [one.pool_id for one in only] == ["b"]
        late, early = found["a"].end_time, found["a"].start_time
        with pytest.raises(HttpResponseError) as refused:
            list(batch.list_pool_usage_metrics(start_time=late, end_time=early))
        assert code_of(refused) == "InvalidQueryParameterValue"


def test_the_catalogue_of_applications_is_empty(batch):
    assert list(batch.list_applications(max_results=5)) == []
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_application("blender")
    assert "(ApplicationNotFound) The specified application does not exist." in str(missing.value)
