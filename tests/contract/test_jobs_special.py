"""Job preparation, release and manager tasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from .conftest import code_of, task, values_of, wait_until

QUICK = {"polling_interval": 0.02}
#: azure-batch 15.1 cannot send this request without options, and does not export their class.
ENOUGH = m._models.BatchJobTerminateOptions(termination_reason="Enough")


def _job(job_id, pool_id=None, **options):
    return m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id or job_id), **options)


def _shell(script):
    return f"/bin/sh -c '{script}'"


def _text(batch, job_id, task_id, name="stdout.txt"):
    return b"".join(batch.download_task_file(job_id, task_id, name)).decode()


def test_special_tasks_get_their_defaults(bench, special):
    job_id = special(
        job_preparation_task=m.BatchJobPreparationTask(command_line="true"),
        job_release_task=m.BatchJobReleaseTask(command_line="true"),
        job_manager_task=m.BatchJobManagerTask(id="m", command_line="true"),
    )
    shown = bench.batch.get_job(job_id).as_dict()
    unlimited = "P10675199DT2H48M5.4775807S"
    identity = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    assert shown["jobPreparationTask"] == {
        "id": "jobpreparation",
        "commandLine": "true",
        "constraints": {"maxWallClockTime": unlimited, "retentionTime": "P7D", "maxTaskRetryCount": 0},
        "userIdentity": identity,
        "waitForSuccess": True,
        "rerunOnNodeRebootAfterSuccess": True,
    }
    assert shown["jobReleaseTask"] == {
        "id": "jobrelease",
        "commandLine": "true",
        "maxWallClockTime": "PT15M",
        "retentionTime": "P7D",
        "userIdentity": identity,
    }
    assert (shown["jobManagerTask"]["killJobOnCompletion"], shown["jobManagerTask"]["runExclusive"]) == (True, True)


def test_preparation_and_release(bench, special, tmp_path):
    prepare = "echo prepared > $AZ_BATCH_NODE_SHARED_DIR/mark; echo $AZ_BATCH_TASK_ID $COMMON"
    job_id = special(
        job_preparation_task=m.BatchJobPreparationTask(command_line=_shell(prepare)),
        job_release_task=m.BatchJobReleaseTask(command_line=_shell(f"cp $AZ_BATCH_NODE_SHARED_DIR/mark {tmp_path}")),
        common_environment_settings=[m.EnvironmentSetting(name="COMMON", value="yes")],
    )
    batch = bench.batch
    assert list(batch.list_job_preparation_and_release_task_status(job_id)) == []
    read = "cat $AZ_BATCH_NODE_SHARED_DIR/mark $AZ_BATCH_JOB_PREP_DIR/stdout.txt"
    batch.create_tasks(job_id, [task("a", read), task("b", "exit 0")])
    for task_id in ("a", "b"):
        wait_until(lambda task_id=task_id: batch.get_task(job_id, task_id).state == m.BatchTaskState.COMPLETED)
    assert _text(batch, job_id, "a") == "prepared\njobpreparation yes\n"
    [status] = batch.list_job_preparation_and_release_task_status(job_id)
    node = batch.get_task(job_id, "a").node_info
    assert (status.pool_id, status.node_id, status.node_url) == (bench.id, node.node_id, node.node_url)
    info = status.job_preparation_task_execution_info
    assert (info.state.value, info.result.value, info.exit_code, info.retry_count) == ("completed", "success", 0, 0)
    assert info.task_root_directory == f"workitems/{job_id}/job-1/jobpreparation"
    assert info.task_root_directory_url == f"{node.node_url}/files/{info.task_root_directory}"
    assert status.job_release_task_execution_info is None
    batch.begin_terminate_job(job_id, ENOUGH, **QUICK).result()
    assert (tmp_path / "mark").read_text() == "prepared\n"
    [status] = batch.list_job_preparation_and_release_task_status(job_id)
    assert status.job_release_task_execution_info.result == m.BatchTaskExecutionResult.SUCCESS


def test_filters_of_the_status_list(bench, special):
    job_id = special(job_preparation_task=m.BatchJobPreparationTask(command_line="false"))
    bench.batch.create_task(job_id, task("t"))

    def count(text):
        return len(list(bench.batch.list_job_preparation_and_release_task_status(job_id, filter=text)))

    wait_until(lambda: count("jobPreparationTaskExecutionInfo/state eq 'completed'") == 1)
    assert count(f"jobPreparationTaskExecutionInfo/exitCode ne 0 and poolId eq '{bench.id}'") == 1
    assert count("jobPreparationTaskExecutionInfo/result eq 'success'") == 0
    assert count("jobReleaseTaskExecutionInfo/startTime gt DateTime'2020-01-01T00:00:00Z'") == 0
    with pytest.raises(HttpResponseError) as refused:
        count("nodeUrl eq 'x'")
    assert code_of(refused) == "InvalidQueryParameterValue"


def test_the_status_list_of_a_job_without_special_tasks(bench):
    with pytest.raises(ResourceExistsError) as refused:
        list(bench.batch.list_job_preparation_and_release_task_status(bench.id))
    assert code_of(refused) == "JobPreparationTaskOrReleaseTaskNotSpecified"
    assert "The specified job does not have either job preparation task or job release task." in str(refused.value)


def test_a_task_whose_node_prepares_is_preparing(bench, special, tmp_path):
    gate = tmp_path / "gate"
    wait = _shell(f"until [ -e {gate} ]; do sleep 0.02; done")
    job_id = special(job_preparation_task=m.BatchJobPreparationTask(id="prep", command_line=wait))
    bench.batch.create_task(job_id, task("t"))
    wait_until(lambda: bench.batch.get_task(job_id, "t").state == m.BatchTaskState.PREPARING)
    assert bench.batch.get_job_task_counts(job_id).task_counts.running == 1
    [status] = bench.batch.list_job_preparation_and_release_task_status(job_id)
    assert status.job_preparation_task_execution_info.state == m.BatchJobPreparationTaskState.RUNNING
    gate.touch()
    wait_until(lambda: bench.batch.get_task(job_id, "t").state == m.BatchTaskState.COMPLETED)


def test_a_failed_preparation_leaves_the_task_active(bench, special):
    job_id = special(job_preparation_task=m.BatchJobPreparationTask(command_line="false"))
    bench.batch.create_task(job_id, task("t"))
    failed = "jobPreparationTaskExecutionInfo/result eq 'failure'"
    wait_until(lambda: list(bench.batch.list_job_preparation_and_release_task_status(job_id, filter=failed)))
    assert bench.batch.get_task(job_id, "t").state == m.BatchTaskState.ACTIVE
    bench.add("other")
    bench.wait_for("other")  # other jobs may use the node
    assert bench.batch.get_job(job_id).state == m.BatchJobState.ACTIVE


def test_tasks_are_not_named_as_special_tasks(bench, special):
    job_id = special(
        job_preparation_task=m.BatchJobPreparationTask(command_line="true"),
        job_release_task=m.BatchJobReleaseTask(id="Clean", command_line="true"),
    )
    for task_id, code in (
        ("JobPreparation", "TaskIdSameAsJobPreparationTask"),
        ("clean", "TaskIdSameAsJobReleaseTask"),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            bench.batch.create_task(job_id, task(task_id))
        assert code_of(refused) == code


@pytest.mark.parametrize(
    ("options", "member"),
    [
        ({"job_release_task": m.BatchJobReleaseTask(command_line="true")}, "jobReleaseTask"),
        ({"job_preparation_task": m.BatchJobPreparationTask(id="a b", command_line="true")}, "id"),
        (
            {
                "job_preparation_task": m.BatchJobPreparationTask(id="x", command_line="true"),
                "job_release_task": m.BatchJobReleaseTask(id="X", command_line="true"),
            },
            "id",
        ),
        (
            {
                "job_preparation_task": m.BatchJobPreparationTask(command_line="true"),
                "job_release_task": m.BatchJobReleaseTask(
                    command_line="true", max_wall_clock_time=timedelta(minutes=16)
                ),
            },
            "maxWallClockTime",
        ),
        (
            {
                "job_manager_task": m.BatchJobManagerTask(
                    id="m", command_line="true", constraints=m.BatchTaskConstraints(max_task_retry_count=-2)
                )
            },
            "maxTaskRetryCount",
        ),
    ],
)
def test_special_tasks_that_cannot_be(batch, name, options, member):
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job(_job(name, **options))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
    assert values_of(refused)["PropertyName"] == member


def test_a_manager_task_runs_first_and_ends_its_job(bench, special):
    manager = m.BatchJobManagerTask(id="m", command_line=_shell("echo $AZ_BATCH_JOB_ID $AZ_BATCH_TASK_ID"))
    job_id = special(job_manager_task=manager)
    wait_until(lambda: bench.batch.get_job(job_id).state == m.BatchJobState.COMPLETED)
    assert bench.batch.get_job(job_id).execution_info.termination_reason == "JMComplete"
    assert _text(bench.batch, job_id, "m") == f"{job_id} m\n"
    assert "killJobOnCompletion" not in bench.batch.get_task(job_id, "m").as_dict()


def test_passwords_of_registries_never_come_back(bench, special):
    registry = m.ContainerRegistryReference(username="u", password="a secret", registry_server="r")
    settings = m.BatchTaskContainerSettings(image_name="ubuntu", registry=registry)
    job_id = special(
        job_preparation_task=m.BatchJobPreparationTask(command_line="true", container_settings=settings),
        job_manager_task=m.BatchJobManagerTask(id="m", command_line="true", container_settings=settings),
    )
    for shown in (bench.batch.get_job(job_id), bench.batch.get_task(job_id, "m")):
        assert "a secret" not in str(shown.as_dict())
