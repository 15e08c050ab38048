"""The machines behind the nodes, with real agents and no server."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from snakemake_executor_azurebatch.emulator import events
from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime
from snakemake_executor_azurebatch.emulator.agent.engine import Engine
from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.model import Pool
from snakemake_executor_azurebatch.emulator.runtime import Runtime, Timings

QUICK = Timings(boot_s=0.01, resize_s=0.01, restart_s=0.01, replace_s=0.01)
IMAGES = {"containerConfiguration": {"type": "dockercompatible", "containerImageNames": ["busybox"]}}


@pytest.fixture
async def runtime(tmp_path):
    found = Runtime(ServiceConfig(tmp_path), timings=QUICK)
    yield found
    await found.close()


def _add_pool(runtime, *, dedicated=1, low=0, **more):
    wire = {
        "id": "p", "state": "active", "creationTime": "2026-01-01T00:00:00Z", "vmSize": "a", "resizeTimeout": "PT15M",
        "allocationState": "resizing", "taskSlotsPerNode": 1, "targetDedicatedNodes": dedicated,
        "targetLowPriorityNodes": low, "taskSchedulingPolicy": {"nodeFillType": "Spread"}, "enableAutoScale": False,
        **more,
    }  # fmt: skip
    runtime.dispatch(events.PoolAdded(Pool("p", "p", wire)))


async def _until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (the state tells nobody of its changes)
            await asyncio.sleep(0.01)


async def _become(runtime, state):
    """The only node, once it is in that state."""
    await _until(lambda: [node.wire["state"] for node in runtime.state.pools["p"].nodes.values()] == [state])
    [node] = runtime.state.pools["p"].nodes.values()
    return node


async def test_an_image_that_cannot_be_had_makes_its_nodes_unusable(runtime):
    engine = Engine("docker", (shutil.which("false"),), is_rootless=True, owner="test")
    runtime.use_containers(ContainerRuntime(engine))
    _add_pool(runtime, virtualMachineConfiguration=IMAGES)
    node = await _become(runtime, "unusable")
    assert node.wire["errors"][0]["code"] == "ContainerInvalidImage"


async def test_a_preempted_node_returns_without_its_files(runtime):
    _add_pool(runtime, dedicated=0, low=1)
    node = await _become(runtime, "idle")
    kept = runtime.node_root("p", node.id) / "shared" / "kept.txt"
    kept.write_text("x")
    runtime.dispatch(events.NodePreempted("p", node.id))
    assert node.wire["state"] == "preempted"
    assert await _become(runtime, "idle") is node
    assert (kept.exists(), kept.parent.exists()) == (False, True)


async def test_a_lost_node_is_replaced_and_its_directory_removed(runtime):
    _add_pool(runtime)
    node = await _become(runtime, "idle")
    runtime.dispatch(events.NodeLost("p", node.id))
    await _become(runtime, "unknown")
    another = await _become(runtime, "idle")
    assert another.id != node.id
    assert not runtime.node_root("p", node.id).exists()


async def test_a_node_that_leaves_while_it_reboots_leaves_nothing(runtime):
    _add_pool(runtime)
    node = await _become(runtime, "idle")
    runtime.dispatch(events.NodeRestarted("p", node.id, "reimage"))
    runtime.dispatch(events.PoolDeleted("p"))
    await _until(lambda: not runtime.state.pools)
    await asyncio.gather(*runtime._doing)  # the boot, which is given up
    assert not runtime.node_root("p", node.id).exists()
