"""The rarer operations with azure-batch 14: nodes, users, preparation tasks, schedules, second attempts.

Reads the same variables as ``with_azure_batch_14``. The last line that it prints says what it saw, as JSON.
"""

import json
import os
from datetime import UTC, datetime, timedelta

from azure.batch import BatchServiceClient
from azure.batch import models as m
from azure.batch.batch_auth import SharedKeyCredentials
from with_azure_batch_14 import NAME, error_of, pool, until


def main():
    key = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
    client = BatchServiceClient(key, os.environ["BATCH_ACCOUNT_URL"])
    given = pool()
    given.target_dedicated_nodes = 2
    given.start_task = m.StartTask(command_line="/bin/sh -c 'echo started'", wait_for_success=True)
    client.pool.add(given)
    until(lambda: states(client) == ["idle", "idle"])
    seen = {**nodes(client), **jobs(client), **schedules(client)}
    client.pool.delete(NAME)
    until(lambda: not client.pool.exists(NAME))
    print(json.dumps(seen))


def states(client):
    return [node.state.value for node in client.compute_node.list(NAME)]


def nodes(client):
    first, second = client.compute_node.list(NAME)
    client.compute_node.disable_scheduling(NAME, first.id)
    offline = client.compute_node.get(NAME, first.id).state.value
    client.compute_node.enable_scheduling(NAME, first.id)
    user = m.ComputeNodeUser(name="somebody", is_admin=False, password="Secret-1")
    client.compute_node.add_user(NAME, first.id, user)
    client.compute_node.update_user(NAME, first.id, "somebody", m.NodeUpdateUserParameter(password="Secret-2"))
    client.compute_node.delete_user(NAME, first.id, "somebody")
    login = client.compute_node.get_remote_login_settings(NAME, first.id)
    client.compute_node.reboot(NAME, second.id)
    until(lambda: states(client) == ["idle", "idle"])
    changes = m.PoolPatchParameter(metadata=[m.MetadataItem(name="who", value="sdk14")])
    client.pool.patch(NAME, changes)
    client.pool.remove_nodes(NAME, m.NodeRemoveParameter(node_list=[second.id]))
    until(lambda: states(client) == ["idle"])
    return {
        "start task": [first.start_task_info.state.value, first.start_task_info.exit_code],
        "start task said": text(client.file.get_from_compute_node(NAME, first.id, "startup/stdout.txt")),
        "offline": offline,
        "login": login.remote_login_port > 0,
        "metadata": [item.value for item in client.pool.get(NAME).metadata],
    }


def jobs(client):
    preparation = m.JobPreparationTask(command_line="/bin/sh -c 'echo prepared'")
    release = m.JobReleaseTask(command_line="/bin/sh -c 'echo released'")
    on_pool = m.PoolInformation(pool_id=NAME)
    given = m.JobAddParameter(
        id=NAME,
        pool_info=on_pool,
        job_preparation_task=preparation,
        job_release_task=release,
        uses_task_dependencies=True,
    )
    client.job.add(given)
    client.task.add(NAME, m.TaskAddParameter(id="first", command_line="/bin/sh -c 'exit 1'"))
    needs = m.TaskDependencies(task_ids=["first"])
    client.task.add(NAME, m.TaskAddParameter(id="second", command_line="true", depends_on=needs))
    until(lambda: client.task.get(NAME, "first").state == m.TaskState.completed)
    waiting = client.task.get(NAME, "second").state.value
    client.job.disable(NAME, m.DisableJobOption.requeue)
    until(lambda: client.job.get(NAME).state == m.JobState.disabled)
    client.job.enable(NAME)
    client.job.patch(NAME, m.JobPatchParameter(priority=7))
    client.task.reactivate(NAME, "first")
    until(lambda: client.task.get(NAME, "first").state == m.TaskState.completed)
    status = next(iter(client.job.list_preparation_and_release_task_status(NAME)))
    subtasks = client.task.list_subtasks(NAME, "first").value
    client.job.terminate(NAME)
    until(lambda: client.job.get(NAME).state == m.JobState.completed)
    released = next(iter(client.job.list_preparation_and_release_task_status(NAME)))
    client.job.delete(NAME)
    until(lambda: error_of(lambda: client.job.get(NAME)) == "JobNotFound")
    return {
        "waiting": waiting,
        "prepared": status.job_preparation_task_execution_info.exit_code,
        "released": released.job_release_task_execution_info.exit_code,
        "subtasks": subtasks or [],
    }


def schedules(client):
    every = m.Schedule(recurrence_interval=timedelta(hours=1), do_not_run_after=datetime.now(UTC) + timedelta(days=1))
    job = m.JobSpecification(pool_info=m.PoolInformation(pool_id=NAME), priority=3)
    client.job_schedule.add(m.JobScheduleAddParameter(id=NAME, schedule=every, job_specification=job))
    until(lambda: list(client.job.list_from_job_schedule(NAME)))
    shown = client.job_schedule.get(NAME)
    made = [(job.id, job.priority) for job in client.job.list_from_job_schedule(NAME)]
    client.job_schedule.disable(NAME)
    disabled = client.job_schedule.get(NAME).state.value
    client.job_schedule.enable(NAME)
    client.job_schedule.terminate(NAME)
    until(lambda: client.job_schedule.get(NAME).state == m.JobScheduleState.completed)
    client.job_schedule.delete(NAME)
    until(lambda: not client.job_schedule.exists(NAME))
    return {
        "schedule": [shown.state.value, shown.execution_info.recent_job.id, str(shown.schedule.recurrence_interval)],
        "made": made,
        "disabled": disabled,
    }


def text(chunks):
    return b"".join(chunks).decode()


if __name__ == "__main__":
    main()
