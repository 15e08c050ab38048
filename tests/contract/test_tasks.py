"""Tasks: run, fail, retry, end; collections; slots."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from .conftest import code_of, task, wait_until


def test_a_task_runs(bench):
    bench.add("t", "echo hello; exit 0")
    done = bench.wait_for("t")
    info = done.execution_info
    assert (info.exit_code, info.result, info.failure_info) == (0, m.BatchTaskExecutionResult.SUCCESS, None)
    assert (info.retry_count, info.requeue_count) == (0, 0)
    assert done.previous_state == m.BatchTaskState.RUNNING
    assert done.node_info.pool_id == bench.id
    assert done.node_info.task_root_directory == f"workitems/{bench.id}/job-1/t"
    assert done.creation_time <= info.start_time <= info.end_time
    shown = done.as_dict()
    assert shown["userIdentity"] == {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    assert shown["constraints"]["retentionTime"] == "P7D"
    assert shown["requiredSlots"] == 1
    node = bench.batch.get_node(bench.id, done.node_info.node_id)
    assert (node.total_tasks_run, node.total_tasks_succeeded) == (1, 1)
    assert node.recent_tasks[0].task_url == done.url


def test_a_failed_task_says_so(bench):
    bench.add("t", "exit 7")
    info = bench.wait_for("t").execution_info
    assert (info.exit_code, info.result) == (7, m.BatchTaskExecutionResult.FAILURE)
    assert (info.failure_info.code, info.failure_info.category) == ("FailureExitCode", "usererror")


def test_a_failing_task_is_retried(bench):
    script = "n=$(cat n || echo 0); echo $((n+1)) > n; [ $n -ge 2 ]"
    bench.add("t", script, constraints=m.BatchTaskConstraints(max_task_retry_count=3))
    info = bench.wait_for("t").execution_info
    assert (info.exit_code, info.retry_count) == (0, 2)
    assert info.last_retry_time is not None


def test_retries_come_from_the_job_and_end(bench):
    limits = m.BatchJobConstraints(max_task_retry_count=1)
    bench.batch.update_job(bench.id, m.BatchJobUpdateOptions(constraints=limits))
    bench.add("t", "exit 3")
    info = bench.wait_for("t").execution_info
    assert (info.exit_code, info.retry_count) == (3, 1)


def test_the_wall_clock_ends_a_task(bench):
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.3))
    bench.add("t", "exec sleep 600", constraints=limit)
    info = bench.wait_for("t").execution_info
    assert info.failure_info.code == "TaskEnded"
    assert info.result == m.BatchTaskExecutionResult.FAILURE


def test_variables_of_job_and_task(batch, name, bench):
    job_id = f"{name}-e"
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=name),
            common_environment_settings=[
                m.EnvironmentSetting(name="A", value="job"),
                m.EnvironmentSetting(name="B", value="job"),
            ],
        )
    )
    own = [m.EnvironmentSetting(name="B", value="task")]
    batch.create_task(job_id, task("t", "echo $A $B $AZ_BATCH_ACCOUNT_NAME", environment_settings=own))
    wait_until(lambda: batch.get_task(job_id, "t").state == m.BatchTaskState.COMPLETED)
    text = b"".join(batch.download_task_file(job_id, "t", "stdout.txt"))
    assert text == b"job task localbatch\n"
    batch.begin_delete_job(job_id, polling_interval=0.02).result()


def test_slots_are_respected(bench, tmp_path):
    gate = tmp_path / "gate"
    hold = f"until [ -e {gate} ]; do sleep 0.02; done"
    bench.add("big", hold, required_slots=2)
    big = bench.wait_for("big", "running")
    bench.add("a", hold)
    bench.add("b", hold)
    node = bench.batch.get_node(bench.id, big.node_info.node_id)
    assert (node.running_tasks_count, node.running_task_slots_count) == (1, 2)
    assert (bench.state("a"), bench.state("b")) == ("active", "active")
    counts = bench.batch.get_job_task_counts(bench.id)
    assert (counts.task_counts.active, counts.task_counts.running) == (2, 1)
    assert (counts.task_slot_counts.active, counts.task_slot_counts.running) == (2, 2)
    gate.touch()
    for task_id in ("big", "a", "b"):
        bench.wait_for(task_id)
    counts = bench.batch.get_job_task_counts(bench.id).task_counts
    assert (counts.completed, counts.succeeded, counts.failed) == (3, 3, 0)


def test_a_task_too_big_for_its_pool_waits(bench):
    bench.add("big", required_slots=3)
    bench.add("small")
    bench.wait_for("small")
    assert bench.state("big") == "active"


def test_terminate_kills_the_whole_process_group(bench, tmp_path):
    pid_file = tmp_path / "pid"
    bench.add("t", f"sleep 600 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait")
    bench.wait_for("t", "running")
    wait_until(pid_file.exists)
    bench.batch.terminate_task(bench.id, "t")
    done = bench.wait_for("t")
    assert done.execution_info.failure_info.code == "TaskEnded"
    assert not _is_alive(int(pid_file.read_text()))
    with pytest.raises(ResourceExistsError) as refused:
        bench.batch.terminate_task(bench.id, "t")
    assert code_of(refused) == "TaskCompleted"


def test_terminate_before_it_runs(bench):
    bench.add("t", required_slots=3)
    bench.batch.terminate_task(bench.id, "t")
    info = bench.batch.get_task(bench.id, "t").execution_info
    assert (info.exit_code, info.result) == (None, m.BatchTaskExecutionResult.FAILURE)
    assert info.failure_info.code == "TaskEnded"


def test_delete_removes_a_running_task_and_its_files(bench, tmp_path, service):
    pid_file = tmp_path / "pid"
    bench.add("t", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600")
    running = bench.wait_for("t", "running")
    wait_until(pid_file.exists)
    bench.batch.delete_task(bench.id, "t")
    with pytest.raises(ResourceNotFoundError) as missing:
        bench.batch.get_task(bench.id, "t")
    assert "(TaskNotFound) The specified task does not exist." in str(missing.value)
    node = running.node_info
    directory = service.config.nodes_dir / bench.id / node.node_id / node.task_root_directory
    wait_until(lambda: not directory.exists())
    assert not _is_alive(int(pid_file.read_text()))


def test_a_deleted_task_can_be_made_again_at_once(bench):
    bench.add("t", "exec sleep 600")
    bench.wait_for("t", "running")
    bench.batch.delete_task(bench.id, "t")
    bench.add("t", "echo again")
    assert bench.wait_for("t").execution_info.exit_code == 0
    assert b"".join(bench.batch.download_task_file(bench.id, "t", "stdout.txt")) == b"again\n"


def test_a_task_exists_once(bench):
    bench.add("t")
    with pytest.raises(ResourceExistsError) as refused:
        bench.add("T")
    assert "(TaskExists) The specified task already exists." in str(refused.value)


def test_only_the_constraints_of_a_task_can_be_replaced(bench):
    bench.add("t", required_slots=3)
    found = bench.batch.get_task(bench.id, "t")
    found.constraints = m.BatchTaskConstraints(max_task_retry_count=4)
    bench.batch.replace_task(bench.id, "t", found)
    assert bench.batch.get_task(bench.id, "t").constraints.max_task_retry_count == 4
    bench.batch.terminate_task(bench.id, "t")
    with pytest.raises(ResourceExistsError) as refused:
        bench.batch.replace_task(bench.id, "t", found)
    assert code_of(refused) == "TaskCompleted"


@pytest.mark.parametrize(
    "options",
    [
        {"multi_instance_settings": m.MultiInstanceSettings(coordination_command_line="true", number_of_instances=2)},
        {"application_package_references": [m.BatchApplicationPackageReference(application_id="a")]},
    ],
)
def test_task_features_that_are_not_emulated(bench, options):
    with pytest.raises(HttpResponseError) as refused:
        bench.add("t", **options)
    assert (refused.value.status_code, code_of(refused)) == (501, "NotEmulated")


def test_container_settings_are_accepted(bench):
    registry = m.ContainerRegistryReference(username="u", password="a secret", registry_server="r")
    settings = m.BatchTaskContainerSettings(image_name="ubuntu", registry=registry)
    bench.add("t", container_settings=settings)
    done = bench.wait_for("t")
    assert done.execution_info.exit_code == 0
    shown = done.as_dict()["containerSettings"]
    assert shown == {"imageName": "ubuntu", "registry": {"username": "u", "registryServer": "r"}}


def test_a_collection_has_a_status_per_item(bench):
    bench.add("b")
    group = m.BatchTaskGroup(task_values=[task("a"), task("b"), task("c"), task("c"), task("d e")])
    results = bench.batch.create_task_collection(bench.id, group).result_values
    assert [str(item.status) for item in results] == [
        "Success",
        "BatchTaskAddStatus.CLIENT_ERROR",
        "Success",
        "BatchTaskAddStatus.CLIENT_ERROR",
        "BatchTaskAddStatus.CLIENT_ERROR",
    ]
    assert [item.error.code for item in results if item.error] == ["TaskExists", "TaskExists", "InvalidPropertyValue"]
    assert results[0].location.endswith(f"/jobs/{bench.id}/tasks/a")
    assert results[0].etag == bench.batch.get_task(bench.id, "a").etag


def test_the_sdk_takes_existing_tasks_for_created_ones_and_raises_for_others(bench):
    bench.add("a")
    bench.batch.create_tasks(bench.id, [task("a"), task("b")])
    assert {found.id for found in bench.batch.list_tasks(bench.id)} == {"a", "b"}
    with pytest.raises(m.CreateTasksError) as refused:
        bench.batch.create_tasks(bench.id, [task("c"), task("no id")])
    assert [item.task_id for item in refused.value.failure_tasks] == ["no id"]


def test_a_collection_has_at_most_100_tasks(bench):
    group = m.BatchTaskGroup(task_values=[task(f"t{number}") for number in range(101)])
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.create_task_collection(bench.id, group)
    assert refused.value.status_code == 400
    assert list(bench.batch.list_tasks(bench.id)) == []


def test_a_collection_is_smaller_than_1_mb(bench):
    long = [m.EnvironmentSetting(name="A", value="x" * 20_000)]
    big = [task(f"t{number}", required_slots=3, environment_settings=long) for number in range(80)]
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.create_task_collection(bench.id, m.BatchTaskGroup(task_values=big))
    assert (refused.value.status_code, code_of(refused)) == (413, "RequestBodyTooLarge")
    bench.batch.create_tasks(bench.id, big)  # halves its collections
    assert len(list(bench.batch.list_tasks(bench.id))) == 80


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123 (a pseudo file)
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
