"""The service is killed at moments of no one's choice, and in the middle of what nodes and jobs do specially."""

from __future__ import annotations

import signal
import threading

import pytest
from azure.batch import models as m
from azure.core.exceptions import AzureError

from .conftest import pool, task, wait_until
from .test_persistence import make_job, service, states

__all__ = ["service"]


@pytest.mark.parametrize("acknowledged", [1, 17])
def test_nothing_that_was_acknowledged_is_lost(service, acknowledged):
    added, deleted = [], []
    enough = threading.Event()

    def work(client) -> None:
        try:
            for number in range(10_000):
                names = [f"t{number}-{part}" for part in range(5)]
                client.create_tasks("j", [task(name) for name in names])
                added.extend(names)
                client.delete_task("j", names[0])
                deleted.append(names[0])
                if number >= acknowledged:
                    enough.set()
        except AzureError:
            return  # it was killed

    with service.start() as client:
        make_job(client, nodes=0)
        worker = threading.Thread(target=work, args=(client,))
        worker.start()
        enough.wait()
        service.end(signal.SIGKILL)
        worker.join()
    with service.start() as client:
        found = set(states(client))
        assert set(added) - set(deleted) - found <= {added[-5]}  # its deletion may have been done, unheard
        assert not found & set(deleted)
        counts = client.get_job_task_counts("j").task_counts
        assert (counts.active, counts.running) == (len(found), 0)


def test_start_tasks_preparations_and_schedules_go_on(service, tmp_path):
    go = tmp_path / "go"
    wait = f"/bin/sh -c 'echo once >> {tmp_path}/NAME; until [ -e {go} ]; do sleep 0.1; done'"
    start_task = m.BatchStartTask(command_line=wait.replace("NAME", "start"), wait_for_success=True)
    preparation = m.BatchJobPreparationTask(command_line=wait.replace("NAME", "prepare"), wait_for_success=True)
    with service.start() as client:
        client.create_pool(pool("starts", start_task=start_task))
        make_job(client, job_preparation_task=preparation)
        client.create_task("j", task("t"))
        specification = m.BatchJobSpecification(pool_info=m.BatchPoolInfo(pool_id="p"))
        schedule = m.BatchJobScheduleConfiguration(recurrence_interval="PT1H")
        client.create_job_schedule(
            m.BatchJobScheduleCreateOptions(id="s", schedule=schedule, job_specification=specification)
        )
        wait_until(lambda: (tmp_path / "start").exists() and (tmp_path / "prepare").exists())
        assert states(client) == {"t": "preparing"}
        due = client.get_job_schedule("s").execution_info.next_run_time
    service.end(signal.SIGKILL)
    with service.start() as client:
        wait_until(lambda: (tmp_path / "start").read_text() == (tmp_path / "prepare").read_text() == "once\n" * 2)
        assert [node.state for node in client.list_nodes("starts")] == ["waitingforstarttask"]
        assert client.get_job_schedule("s").execution_info.next_run_time == due
        go.touch()
        wait_until(lambda: [node.state for node in client.list_nodes("starts")] == ["idle"])
        wait_until(lambda: states(client) == {"t": "completed"})
        info = client.get_task("j", "t").execution_info
        assert (info.result, info.requeue_count) == ("success", 0)


def test_a_start_task_that_ran_does_not_run_again(service, tmp_path):
    start_task = m.BatchStartTask(command_line=f"/bin/sh -c 'echo once >> {tmp_path}/start'", wait_for_success=True)
    with service.start() as client:
        client.create_pool(pool("p", start_task=start_task))
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        wait_until(lambda: [node.state for node in client.list_nodes("p")] == ["idle"])
    service.end(signal.SIGKILL)
    with service.start() as client:
        client.create_task("j", task("t"))
        wait_until(lambda: states(client) == {"t": "completed"})
        assert client.get_task("j", "t").execution_info.requeue_count == 0
    assert (tmp_path / "start").read_text() == "once\n"
