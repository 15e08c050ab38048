"""Jobs: their life, their limits, their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from .conftest import code_of, pool, wait_until


def _job(job_id, **options):
    return m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=job_id), **options)


def _reason(text):
    # azure-batch 15.1 cannot send this request without options, and does not export their class
    return m._models.BatchJobTerminateOptions(termination_reason=text)


def test_a_new_job_shows_the_defaults(batch, name):
    batch.create_job(_job(name))
    shown = batch.get_job(name).as_dict()
    assert (shown["state"], shown["priority"], shown["maxParallelTasks"]) == ("active", 0, -1)
    assert shown["constraints"] == {"maxWallClockTime": "P10675199DT2H48M5.4775807S", "maxTaskRetryCount": 0}
    assert (shown["onAllTasksComplete"], shown["onTaskFailure"]) == ("noaction", "noaction")
    assert shown["executionInfo"]["poolId"] == name
    assert shown["url"].endswith(f"/jobs/{name}")
    batch.begin_delete_job(name, polling_interval=0.02).result()
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_job(name)
    assert "(JobNotFound) The specified job does not exist." in str(missing.value)


def test_a_job_on_a_missing_pool_waits_for_it(batch, name):
    batch.create_job(_job(name))
    batch.create_task(name, m.BatchTaskCreateOptions(id="t", command_line="true"))
    assert batch.get_task(name, "t").state == m.BatchTaskState.ACTIVE
    batch.create_pool(pool(name))
    wait_until(lambda: batch.get_task(name, "t").state == m.BatchTaskState.COMPLETED)


def test_update_keeps_what_is_not_given_and_replace_does_not(bench):
    batch, name = bench.batch, bench.id
    batch.update_job(
        name,
        m.BatchJobUpdateOptions(
            priority=7,
            metadata=[m.BatchMetadataItem(name="a", value="b")],
            constraints=m.BatchJobConstraints(max_wall_clock_time=timedelta(hours=1)),
        ),
    )
    batch.update_job(name, m.BatchJobUpdateOptions(all_tasks_complete_mode="noaction"))
    job = batch.get_job(name)
    assert (job.priority, job.metadata[0].value) == (7, "b")
    assert job.constraints.max_wall_clock_time == timedelta(hours=1)
    batch.replace_job(name, job)  # all that the service wrote itself is ignored
    assert batch.get_job(name).priority == 7
    batch.replace_job(name, m.BatchJob(pool_info=m.BatchPoolInfo(pool_id=name)))
    job = batch.get_job(name)
    assert (job.priority, job.metadata) == (0, None)


def test_terminate_ends_running_tasks_and_leaves_waiting_ones(bench):
    batch, name = bench.batch, bench.id
    for task_id in ("a", "b", "c"):
        bench.add(task_id, "exec sleep 600")
    bench.wait_for("a", "running")
    bench.wait_for("b", "running")
    batch.begin_terminate_job(name, _reason("Enough"), polling_interval=0.02).result()
    job = batch.get_job(name)
    assert (job.state, job.previous_state) == (m.BatchJobState.COMPLETED, m.BatchJobState.TERMINATING)
    assert job.execution_info.termination_reason == "Enough"
    ended = batch.get_task(name, "a")
    assert ended.execution_info.failure_info.code == "TaskEnded"
    assert ended.execution_info.result == m.BatchTaskExecutionResult.FAILURE
    assert bench.state("c") == "active"
    for change in (
        lambda: bench.add("d"),
        lambda: batch.update_job(name, m.BatchJobUpdateOptions(priority=1)),
        lambda: batch.begin_terminate_job(name, _reason("Again")),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == "JobCompleted"


def test_delete_ends_tasks_and_removes_their_files(bench, service):
    bench.add("t", "exec sleep 600")
    running = bench.wait_for("t", "running")
    directory = service.config.nodes_dir / bench.id / running.node_info.node_id / running.node_info.task_root_directory
    wait_until(directory.exists)
    bench.batch.begin_delete_job(bench.id, polling_interval=0.02).result()
    assert not directory.exists()
    bench.batch.create_job(_job(bench.id))


def test_a_job_can_end_with_its_last_task(bench):
    batch, name = bench.batch, bench.id
    bench.add("t")
    bench.wait_for("t")
    assert batch.get_job(name).state == m.BatchJobState.ACTIVE
    batch.update_job(name, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    wait_until(lambda: batch.get_job(name).state == m.BatchJobState.COMPLETED)
    assert batch.get_job(name).execution_info.termination_reason == "AllTasksComplete"


def test_the_wall_clock_ends_a_job(bench):
    batch, name = bench.batch, bench.id
    bench.add("t", "exec sleep 600")
    limit = m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=0.2))
    batch.update_job(name, m.BatchJobUpdateOptions(constraints=limit))
    wait_until(lambda: batch.get_job(name).state == m.BatchJobState.COMPLETED)
    assert batch.get_job(name).execution_info.termination_reason == "MaxWallClockTimeExpiry"


def test_priority_decides_who_is_first(bench, tmp_path):
    batch, name, order = bench.batch, bench.id, tmp_path / "order"
    urgent = f"{name}-u"
    batch.create_job(m.BatchJobCreateOptions(id=urgent, pool_info=m.BatchPoolInfo(pool_id=name), priority=100))
    gate = tmp_path / "gate"
    bench.add("blocker", f"until [ -e {gate} ]; do sleep 0.02; done", required_slots=2)
    bench.wait_for("blocker", "running")
    bench.add("late", f"echo low >> {order}", required_slots=2)
    script = f'/bin/sh -c "echo high >> {order}"'
    batch.create_task(urgent, m.BatchTaskCreateOptions(id="t", command_line=script, required_slots=2))
    gate.touch()
    bench.wait_for("late")
    assert order.read_text().split() == ["high", "low"]
    batch.begin_delete_job(urgent, polling_interval=0.02).result()


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 1001},
        {"priority": -1001},
        {"max_parallel_tasks": 0},
        {"constraints": m.BatchJobConstraints(max_task_retry_count=-2)},
    ],
)
def test_limits_of_job_values(bench, options):
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.update_job(bench.id, m.BatchJobUpdateOptions(**options))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")


@pytest.mark.parametrize(
    ("method", "path", "state", "code"),
    [
        ("POST", "/jobs/{}/terminate", "terminating", "JobBeingTerminated"),
        ("DELETE", "/jobs/{}", "deleting", "JobBeingDeleted"),
    ],
)
def test_a_job_in_transition_cannot_be_changed(frozen, name, method, path, state, code):
    name = f"{name}-{state}"
    frozen.create_job(_job(name))
    # not begin_*: its poller would go on asking behind the test's back
    frozen.send_request(HttpRequest(method, f"{path.format(name)}?api-version=2025-06-01"))
    assert frozen.get_job(name).state == state
    for change in (
        lambda: frozen.create_task(name, m.BatchTaskCreateOptions(id="t", command_line="true")),
        lambda: frozen.update_job(name, m.BatchJobUpdateOptions(priority=1)),
        lambda: frozen.begin_terminate_job(name, _reason("Again")),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == code
