"""Nodes: restarts, scheduling, start tasks, failures."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import code_of, pool, refusal, running_service, wait_until

QUICK = {"polling_interval": 0.02}
#: azure-batch 15.1 cannot send these operations without options, and has no public models for them.
REBOOT = {"nodeRebootOption": "requeue"}
NODE_ACTIONS = ("reboot", "reimage", "deallocate", "start", "disablescheduling", "enablescheduling")


def _post(batch, path, body=None):
    return batch.send_request(HttpRequest("POST", f"{path}?api-version=2025-06-01", json=body))


def _ready(batch, name, **options):
    """The only node of a new pool, once it is idle."""
    batch.create_pool(pool(name, **options))
    wait_until(lambda: [node.state for node in batch.list_nodes(name)] == ["idle"])
    [node] = batch.list_nodes(name)
    return node.id


def _become(batch, name, state):
    wait_until(lambda: [node.state for node in batch.list_nodes(name)] == [state])
    [node] = batch.list_nodes(name)
    return node


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    """A client of a service where nodes come up, but no restart ends."""
    timings = Timings(boot_s=0.02, resize_s=0.02, restart_s=1e6, replace_s=1e6)
    with running_service(tmp_path_factory.mktemp("stuck"), timings) as running, running.client() as client:
        yield client


# -- what a node shows ----------------------------------------------------------------------------


def test_what_a_node_shows(batch, bench):
    bench.add("t", "exit 0")
    bench.add("u", "exit 3")
    bench.wait_for("t")
    bench.wait_for("u")
    [node] = batch.list_nodes(bench.id)
    shown = batch.get_node(bench.id, node.id).as_dict()
    assert shown["nodeAgentInfo"]["version"] == "1.12.39"
    assert shown["lastBootTime"] >= shown["allocationTime"]
    assert (shown["totalTasksRun"], shown["totalTasksSucceeded"]) == (2, 1)
    assert (shown["runningTasksCount"], shown["runningTaskSlotsCount"]) == (0, 0)
    assert shown["virtualMachineInfo"]["imageReference"]["exactVersion"] == "latest"
    assert shown["endpointConfiguration"]["inboundEndpoints"][0]["backendPort"] == 22
    assert shown["ipAddress"] == "10.0.0.4"
    assert {entry["taskId"] for entry in shown["recentTasks"]} == {"t", "u"}
    assert {entry["executionInfo"]["exitCode"] for entry in shown["recentTasks"]} == {0, 3}
    assert [one.id for one in batch.list_nodes(bench.id, filter="state eq 'idle'", select=["id"])] == [node.id]
    assert list(batch.list_nodes(bench.id, filter="state eq 'running'")) == []
    few = batch.get_node(bench.id, node.id, select=["state"]).as_dict()
    assert {name for name in few if not name.startswith("odata.")} == {"state"}


# -- restarts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "state"), [("reboot", "rebooting"), ("reimage", "reimaging"), ("deallocate", "deallocating")]
)
def test_a_restart_is_seen_at_once_and_prevents_another(stuck, name, action, state):
    node_id = _ready(stuck, name)
    path = f"/pools/{name}/nodes/{node_id}"
    answer = _post(stuck, f"{path}/{action}")
    assert (answer.status_code, answer.headers.get("ETag")) == (202, None)
    assert answer.headers["DataServiceId"].endswith(f"{path}/{action}")
    assert stuck.get_node(name, node_id).state == state
    code = {
        "rebooting": "NodeBeingRebooted",
        "reimaging": "NodeBeingReimaged",
        "deallocating": "OperationInvalidForCurrentState",
    }[state]
    for other in ("reboot", "reimage", "deallocate", "start"):
        with pytest.raises(HttpResponseError) as refused:
            _post(stuck, f"{path}/{other}")
        assert refusal(refused) == (409, code)
    with pytest.raises(HttpResponseError) as refused:
        _post(stuck, f"{path}/users", {"name": "u", "password": "p"})
    assert refusal(refused) == (409, code)


@pytest.mark.parametrize(("action", "survives"), [("reboot", True), ("reimage", False)])
def test_files_survive_a_reboot_only(batch, bench, action, survives):
    bench.add("t", "echo kept > $AZ_BATCH_NODE_SHARED_DIR/kept.txt")
    node_id = bench.wait_for("t").node_info.node_id
    before = batch.get_node(bench.id, node_id).last_boot_time
    restart = {"reboot": batch.begin_reboot_node, "reimage": batch.begin_reimage_node}[action]
    options = {"reboot": REBOOT, "reimage": {"nodeReimageOption": "requeue"}}[action]
    restart(bench.id, node_id, options, **QUICK).result()
    node = _become(batch, bench.id, "idle")
    assert node.last_boot_time > before
    names = [item.name for item in batch.list_node_files(bench.id, node_id, recursive=True)]
    assert ("shared/kept.txt" in names) is survives


@pytest.mark.parametrize(("option", "requeues"), [("requeue", 1), ("terminate", None), ("taskcompletion", 0)])
def test_a_reboot_treats_running_tasks_as_asked(batch, bench, tmp_path, option, requeues):
    gate = tmp_path / "gate"
    bench.add("t", f"until [ -e {gate} ]; do sleep 0.02; done")
    node_id = bench.wait_for("t", "running").node_info.node_id
    _post(batch, f"/pools/{bench.id}/nodes/{node_id}/reboot", {"nodeRebootOption": option})
    assert batch.get_node(bench.id, node_id).state == "rebooting"
    if option == "requeue":
        wait_until(lambda: bench.batch.get_task(bench.id, "t").execution_info.requeue_count == 1)
    gate.touch()
    done = bench.wait_for("t")
    assert done.execution_info.result == ("failure" if requeues is None else "success")
    assert done.execution_info.requeue_count == (requeues or 0)
    wait_until(lambda: batch.get_node(bench.id, node_id).state == "idle")


def test_deallocate_and_start(batch, name):
    node_id = _ready(batch, name)
    with pytest.raises(ResourceExistsError) as refused:
        batch.begin_start_node(name, node_id, **QUICK)
    assert code_of(refused) == "OperationInvalidForCurrentState"
    batch.begin_deallocate_node(name, node_id, {"nodeDeallocateOption": "requeue"}, **QUICK).result()
    _become(batch, name, "deallocated")
    assert batch.get_pool(name).current_dedicated_nodes == 1
    with pytest.raises(ResourceExistsError) as refused:
        list(batch.list_node_files(name, node_id))
    assert code_of(refused) == "OperationInvalidForCurrentState"
    with pytest.raises(ResourceExistsError) as refused:
        batch.begin_reboot_node(name, node_id, REBOOT, **QUICK)
    assert code_of(refused) == "OperationInvalidForCurrentState"
    batch.begin_start_node(name, node_id, **QUICK).result()
    _become(batch, name, "idle")


def test_an_unknown_option_is_refused(batch, name):
    node_id = _ready(batch, name)
    with pytest.raises(HttpResponseError) as refused:
        _post(batch, f"/pools/{name}/nodes/{node_id}/disablescheduling", {"nodeDisableSchedulingOption": "x"})
    assert refusal(refused) == (400, "InvalidPropertyValue")


@pytest.mark.parametrize("action", NODE_ACTIONS)
def test_a_node_that_is_not_there(batch, bench, action):
    with pytest.raises(ResourceNotFoundError) as missing:
        _post(batch, f"/pools/{bench.id}/nodes/nobody/{action}")
    assert "(NodeNotFound) The specified node does not exist." in str(missing.value)


# -- scheduling -----------------------------------------------------------------------------------


def test_a_node_without_scheduling_takes_no_tasks(batch, bench):
    node_id = _become(batch, bench.id, "idle").id
    with pytest.raises(ResourceExistsError) as refused:
        batch.enable_node_scheduling(bench.id, node_id)
    assert "(NodeAlreadyInTargetSchedulingState) The specified node is already in the target scheduling state." in str(
        refused.value
    )
    batch.disable_node_scheduling(
        bench.id, node_id, m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")
    )
    found = batch.get_node(bench.id, node_id)
    assert (found.state, found.scheduling_state) == ("offline", "disabled")
    with pytest.raises(ResourceExistsError) as refused:
        batch.disable_node_scheduling(
            bench.id, node_id, m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")
        )
    assert code_of(refused) == "NodeAlreadyInTargetSchedulingState"
    bench.add("t", "exec sleep 600")
    assert bench.state("t") == "active"
    batch.enable_node_scheduling(bench.id, node_id)
    bench.wait_for("t", "running")


@pytest.mark.parametrize(
    ("option", "state"), [("requeue", "active"), ("terminate", "completed"), ("taskcompletion", "completed")]
)
def test_disabling_treats_running_tasks_as_asked(batch, bench, tmp_path, option, state):
    gate = tmp_path / "gate"
    bench.add("t", f"until [ -e {gate} ]; do sleep 0.02; done")
    node_id = bench.wait_for("t", "running").node_info.node_id
    options = m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option=option)
    batch.disable_node_scheduling(bench.id, node_id, options)
    if option == "taskcompletion":
        assert batch.get_node(bench.id, node_id).state == "running"
        gate.touch()
    wait_until(lambda: batch.get_node(bench.id, node_id).state == "offline")
    assert bench.state("t") == state


# -- start tasks ----------------------------------------------------------------------------------


def test_a_start_task_runs_before_the_first_task(batch, name, tmp_path):
    gate = tmp_path / "gate"
    script = f"echo hello; echo x > $AZ_BATCH_NODE_SHARED_DIR/y; until [ -e {gate} ]; do sleep 0.02; done"
    start_task = m.BatchStartTask(
        command_line=f"/bin/sh -c '{script}'",
        environment_settings=[m.EnvironmentSetting(name="A", value="1")],
    )
    batch.create_pool(pool(name, start_task=start_task))
    node = _become(batch, name, "waitingforstarttask")
    assert (node.start_task_info.state, node.start_task_info.retry_count) == ("running", 0)
    [counts] = batch.list_pool_node_counts(filter=f"poolId eq '{name}'")
    assert (counts.dedicated.waiting_for_start_task, counts.dedicated.total) == (1, 1)
    with pytest.raises(ResourceExistsError) as refused:
        batch.begin_reboot_node(name, node.id, REBOOT, **QUICK)
    assert code_of(refused) == "NodeBeingStarted"
    gate.touch()
    node = _become(batch, name, "idle")
    assert (node.start_task_info.result, node.start_task_info.exit_code) == ("success", 0)
    assert node.start_task.command_line == start_task.command_line
    assert b"".join(batch.download_node_file(name, node.id, "startup/stdout.txt")) == b"hello\n"
    found = batch.list_nodes(name, filter="startTaskInfo/result eq 'success' and startTaskInfo/exitCode eq 0")
    assert [one.id for one in found] == [node.id]


def test_a_failing_start_task_is_retried_and_then_fails_the_node(batch, name):
    start_task = m.BatchStartTask(
        command_line="/bin/sh -c 'echo x >> $AZ_BATCH_NODE_SHARED_DIR/runs; exit 3'", max_task_retry_count=2
    )
    batch.create_pool(pool(name, start_task=start_task))
    node = _become(batch, name, "starttaskfailed")
    info = node.start_task_info
    assert (info.state, info.result, info.exit_code, info.retry_count) == ("completed", "failure", 3, 2)
    assert (info.failure_info.code, info.failure_info.category) == ("FailureExitCode", "usererror")
    assert b"".join(batch.download_node_file(name, node.id, "shared/runs")) == b"x\n" * 3


def test_a_failing_start_task_that_nobody_waits_for(batch, name):
    start_task = m.BatchStartTask(command_line="/bin/sh -c 'exit 3'", wait_for_success=False)
    batch.create_pool(pool(name, start_task=start_task))
    wait_until(lambda: [n.start_task_info and n.start_task_info.result for n in batch.list_nodes(name)] == ["failure"])
    assert [node.state for node in batch.list_nodes(name)] == ["idle"]


def test_a_start_task_runs_again_after_a_reboot(batch, name):
    node_id = _ready(batch, name)
    command = "/bin/sh -c 'echo x >> $AZ_BATCH_NODE_SHARED_DIR/runs'"
    batch.update_pool(name, m.BatchPoolUpdateOptions(start_task=m.BatchStartTask(command_line=command)))
    assert batch.get_node(name, node_id).start_task is None
    for runs in (1, 2):
        batch.begin_reboot_node(name, node_id, REBOOT, **QUICK).result()
        node = _become(batch, name, "idle")
        assert node.start_task_info.result == "success"
        assert b"".join(batch.download_node_file(name, node_id, "shared/runs")) == b"x\n" * runs


# -- failures -------------------------------------------------------------------------------------


def test_a_pool_that_names_images_comes_up_without_docker_too(batch, name):
    wanted = pool(name)
    wanted.virtual_machine_configuration.container_configuration = m.BatchContainerConfiguration(
        type="dockerCompatible", container_image_names=["busybox"]
    )
    batch.create_pool(wanted)  # images are noted only
    _become(batch, name, "idle")


def test_missing_pools_have_no_nodes(batch):
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_node("no-such-pool", "n")
    assert code_of(missing) == "PoolNotFound"
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_nodes("no-such-pool", filter="state eq 1"))
    assert code_of(refused) == "PoolNotFound"
