"""Jobs, preparations, dependencies and schedules after a restart of the service."""

from __future__ import annotations

from datetime import timedelta

from azure.batch import models as m
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import pool, running_service, task, wait_until

TIMINGS = Timings(boot_s=0.05, settle_s=0.03)
HOLD = "[ -e {0} ] || {{ touch {0}; exec sleep 600; }}"


def _state(client, task_id, job_id="j"):
    return client.get_task(job_id, task_id).state.value


def test_what_was_under_way_goes_on(tmp_path):
    prepare = m.BatchJobPreparationTask(command_line=f"/bin/sh -c '{HOLD.format(tmp_path / 'prep')}'")
    own = {"job_preparation_task": prepare, "uses_task_dependencies": True}
    with running_service(tmp_path / "s", TIMINGS) as service, service.client() as client:
        client.create_pool(pool("p"))
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p"), **own))
        after = m.BatchTaskDependencies(task_ids=["first"])
        client.create_tasks("j", [task("first"), task("second", depends_on=after)])
        wait_until(lambda: _state(client, "first") == "preparing" and (tmp_path / "prep").exists())
        client.create_job(m.BatchJobCreateOptions(id="off", pool_info=m.BatchPoolInfo(pool_id="p")))
        disable = HttpRequest("POST", "/jobs/off/disable?api-version=2025-06-01", json={"disableTasks": "wait"})
        client.send_request(disable)
        wait_until(lambda: client.get_job("off").state == m.BatchJobState.DISABLED)
    with running_service(tmp_path / "s", TIMINGS) as service, service.client() as client:
        wait_until(lambda: _state(client, "second") == "completed")
        [status] = client.list_job_preparation_and_release_task_status("j")
        assert status.job_preparation_task_execution_info.result == m.BatchTaskExecutionResult.SUCCESS
        assert client.get_job("off").state == m.BatchJobState.DISABLED


def test_a_schedule_goes_on(tmp_path):
    with running_service(tmp_path, TIMINGS) as service, service.client() as client:
        specification = m.BatchJobSpecification(
            pool_info=m.BatchPoolInfo(pool_id="p"), all_tasks_complete_mode="terminatejob"
        )
        times = m.BatchJobScheduleConfiguration(recurrence_interval=timedelta(minutes=5))
        client.create_job_schedule(
            m.BatchJobScheduleCreateOptions(id="s", schedule=times, job_specification=specification)
        )
        wait_until(lambda: client.get_job("s:job-1").state == m.BatchJobState.COMPLETED)
        due = client.get_job_schedule("s").execution_info.next_run_time
    with running_service(tmp_path, TIMINGS) as service, service.client() as client:
        assert client.get_job_schedule("s").execution_info.next_run_time == due
        client.send_request(HttpRequest("POST", "/_admin/clock?api-version=2025-06-01", json={"advanceSeconds": 301}))
        wait_until(lambda: len(list(client.list_jobs_from_schedule("s"))) == 2)
