"""What survives the end of the service, however it ends."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY

from .conftest import PATIENCE_S, pool, task, wait_until

TASKS = 20


class Service:
    """A service as a process, always in the same state directory."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.url = ""

    def start(self, *options: str) -> BatchClient:
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "snakemake_executor_azurebatch.emulator", "--no-blobs"]
        arguments = ["--state-dir", str(self.folder / "state"), "--ready-file", str(ready), *options]
        self.process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, start_new_session=True)
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        if self.process.poll() is not None:
            pytest.fail(self.process.communicate()[1].decode())
        self.url = json.loads(ready.read_text())["batch_url"]
        return BatchClient(self.url, AzureNamedKeyCredential("localbatch", DEVELOPMENT_KEY), retry_total=0)

    def end(self, number: signal.Signals) -> bytes:
        """What it said."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_S)[1]


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    if service.process.poll() is None:
        service.end(signal.SIGTERM)


def states(client):
    return {found.id: found.state for found in client.list_tasks("j")}


def make_job(client, nodes=1, slots=1, **options):
    client.create_pool(pool("p", nodes=nodes, slots=slots))
    client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p"), **options))


def test_killed_in_the_middle_of_twenty_running_tasks(service, tmp_path):
    go, began, done = (tmp_path / name for name in ("go", "began", "done"))
    began.mkdir()
    script = f"touch {began}/$AZ_BATCH_TASK_ID; until [ -e {go} ]; do sleep 0.1; done; echo $AZ_BATCH_TASK_ID >> {done}"
    with service.start() as client:
        make_job(client, nodes=2, slots=10)
        client.create_tasks("j", [task(f"t{number}", script) for number in range(TASKS)])
        wait_until(lambda: len(list(began.iterdir())) == TASKS)
        client.create_tasks("j", [task("waits", "echo here", required_slots=10), task("gone")])
        client.delete_task("j", "gone")
        client.terminate_task("j", "t0")
        nodes = {node.id for node in client.list_nodes("p")}
        before = {found.id: (found.etag, found.creation_time) for found in client.list_tasks("j")}
        url = service.url
    service.end(signal.SIGKILL)
    with service.start() as client:
        assert service.url == url
        assert {node.id for node in client.list_nodes("p")} == nodes
        assert {found.id: (found.etag, found.creation_time) for found in client.list_tasks("j")} == before
        go.touch()
        wait_until(lambda: set(states(client).values()) == {"completed"})
        finished = {found.id: found for found in client.list_tasks("j")}
        ended = finished.pop("t0").execution_info.failure_info
        assert ended is None or ended.code == "TaskEnded"
        assert {found.execution_info.result for found in finished.values()} == {"success"}
        assert finished.pop("waits").execution_info.requeue_count == 0
        assert {found.execution_info.requeue_count for found in finished.values()} == {1}
        counts = client.get_job_task_counts("j").task_counts
        assert (counts.completed, counts.running, counts.active) == (TASKS + 1, 0, 0)
        ran = sum(node.total_tasks_run for node in client.list_nodes("p"))
        assert ran == TASKS + 1
    lines = done.read_text().split()
    assert sorted(line for line in lines if line != "t0") == sorted(finished)


def test_an_orderly_end_keeps_everything_too(service):
    with service.start() as client:
        make_job(client, slots=2, metadata=[m.BatchMetadataItem(name="k", value="v")])
        client.create_tasks("j", [task("done", "echo words"), task("long", "exec sleep 600")])
        wait_until(lambda: states(client) == {"done": "completed", "long": "running"})
        job, done = client.get_job("j"), client.get_task("j", "done")
        listed = [node.as_dict() for node in client.list_nodes("p")]
    service.end(signal.SIGTERM)
    with service.start() as client:
        assert client.get_job("j").as_dict() == job.as_dict()
        assert client.get_task("j", "done").as_dict() == done.as_dict()
        assert b"".join(client.download_task_file("j", "done", "stdout.txt")) == b"words\n"
        now = next(iter(client.list_nodes("p"))).as_dict()
        assert (now["id"], now["allocationTime"]) == (listed[0]["id"], listed[0]["allocationTime"])
        wait_until(lambda: states(client)["long"] == "running")
        client.send_request(HttpRequest("POST", "/jobs/j/terminate?api-version=2025-06-01"))
        wait_until(lambda: client.get_job("j").state == "completed")
        client.begin_delete_pool("p", polling_interval=0.02).result()
        assert list(client.list_pools()) == []
    service.end(signal.SIGKILL)
    with service.start() as client:
        assert list(client.list_pools()) == []
        assert client.get_task("j", "long").execution_info.failure_info.code == "TaskEnded"


def test_transitions_that_were_interrupted_come_to_their_end(service):
    with service.start("--clock-speed", "0.001") as client:  # nothing boots, nothing settles
        make_job(client)
        client.create_task("j", task("t"))
        client.create_job(m.BatchJobCreateOptions(id="ends", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.send_request(HttpRequest("POST", "/jobs/ends/terminate?api-version=2025-06-01"))
        client.create_job(m.BatchJobCreateOptions(id="goes", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.send_request(HttpRequest("DELETE", "/jobs/goes?api-version=2025-06-01"))
        assert client.get_pool("p").allocation_state == "resizing"
        assert client.get_job("ends").state == "terminating"
    service.end(signal.SIGKILL)
    with service.start() as client:
        wait_until(lambda: states(client) == {"t": "completed"})
        wait_until(lambda: client.get_job("ends").state == "completed")
        wait_until(lambda: {job.id for job in client.list_jobs()} == {"j", "ends"})
        assert client.get_pool("p").allocation_state == "steady"


def test_a_job_of_the_same_id_does_not_inherit_tasks(service):
    with service.start() as client:
        make_job(client)
        client.create_task("j", task("old"))
        client.begin_delete_job("j", polling_interval=0.02).result()
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.create_task("j", task("new"))
    service.end(signal.SIGKILL)
    with service.start() as client:
        assert set(states(client)) == {"new"}


@pytest.mark.parametrize("damage", ["layout", "bytes"])
def test_a_state_that_cannot_be_read_is_put_aside_and_told(service, tmp_path, damage):
    with service.start() as client:
        make_job(client)
    service.end(signal.SIGTERM)
    file = tmp_path / "state" / "state.db"
    if damage == "layout":
        with sqlite3.connect(file) as database:
            database.execute("UPDATE meta SET value = '0-other'")
        database.close()
    else:
        file.write_bytes(b"this is no database" * 100)
    with service.start() as client:
        assert list(client.list_pools()) == []
    assert b"state.db.unreadable" in service.end(signal.SIGTERM)
    assert (tmp_path / "state" / "state.db.unreadable").exists()


def test_rows_cannot_make_anything_but_plain_data(service, tmp_path):
    with service.start() as client:
        make_job(client)
    service.end(signal.SIGTERM)
    mark = tmp_path / "mark"
    evil = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    with sqlite3.connect(tmp_path / "state" / "state.db") as database:
        database.execute("UPDATE entity SET body = ? WHERE kind = 'job'", (evil,))
    database.close()
    with service.start():
        pass
    assert not mark.exists()
    assert b"os.system does not belong into a state" in service.end(signal.SIGTERM)
