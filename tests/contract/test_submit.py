"""The submitter against a real service: collections, refusals of single tasks, repeated requests."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from azure.batch import models as m

from snakemake_executor_azurebatch.emulator.control import Control
from snakemake_executor_azurebatch.emulator.running import RunningService
from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.run.collection import create_all
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.patience import OutOfPatience, Patience
from snakemake_executor_azurebatch.run.submit import Submitter
from snakemake_executor_azurebatch.tasks import Task

from .conftest import PATIENCE_S, wait_until


@pytest.fixture
def batch_job(service) -> Iterator[tuple]:
    """A client and a Batch job whose pool does not exist: its tasks stay active."""
    name = f"submit-{uuid.uuid4().hex[:8]}"
    with service.client() as client:
        client.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id="nowhere")))
        yield client, name


@pytest.fixture
def control(service) -> Iterator[Control]:
    control = Control(RunningService(0, service.url, service.config.account, "", service.config.state_dir))
    yield control
    control.clear_faults()


def request(key: str) -> JobRequest:
    return JobRequest(key=key, name="rule", threads=1, runtime_s=None, script="")


def task(job: JobRequest) -> Task:
    return {"id": job.key, "commandLine": "true"}


@contextmanager
def submitting(client, name, prepare=task, together=lambda _: None, say=print, limit_s=3600):
    failed: dict[str, Exception] = {}
    patience = Patience("Azure Batch", limit_s, say, first_pause_s=0.01)
    submitter = Submitter(
        lambda tasks: create_all(client, name, tasks, patience),
        prepare,
        lambda job, error: failed.update({job.key: error}),
        together=together,
    )
    try:
        yield submitter, failed
    finally:
        submitter.stop()


def ids(client, name) -> set[str]:
    return {str(one.id) for one in client.list_tasks(name)}


def collections(service) -> list[int]:
    """How many tasks each collection carried that the service was ever asked for."""
    lines = [json.loads(line) for line in service.config.request_log.read_text().splitlines()]
    return [line["items"] for line in lines if "items" in line]


def test_many_jobs_go_in_few_collections(service, batch_job):
    client, name = batch_job
    before = len(collections(service))
    keys = {f"t{i}" for i in range(250)}

    with submitting(client, name) as (submitter, failed):
        submitter.add([request(key) for key in sorted(keys)])
        wait_until(lambda: ids(client, name) == keys)

    assert failed == {}
    assert sorted(collections(service)[before:]) == [50, 100, 100]


def test_jobs_of_a_collection_are_first_seen_together(batch_job):
    client, name = batch_job
    seen: list[list[str]] = []
    prepared: list[str] = []

    def together(jobs):
        assert not {job.key for job in jobs} & set(prepared)
        seen.append([job.key for job in jobs])
        raise ValueError("whatever it is, each job goes on by itself")

    def prepare(job):
        prepared.append(job.key)
        return task(job)

    keys = [f"t{i:03}" for i in range(150)]
    with submitting(client, name, prepare, together) as (submitter, failed):
        submitter.add([request(key) for key in keys])
        submitter.add([request("alone")])
        wait_until(lambda: ids(client, name) == {*keys, "alone"})

    assert failed == {}
    assert seen == [keys[:100], keys[100:]]


def test_a_refused_task_does_not_harm_the_others(batch_job):
    client, name = batch_job

    with submitting(client, name) as (submitter, failed):
        submitter.add([request("good"), request("not an id"), request("fine")])
        wait_until(lambda: failed)

    assert ids(client, name) == {"good", "fine"}
    assert list(failed) == ["not an id"]
    assert "the service refused the task" in str(failed["not an id"])


def test_tasks_that_the_service_has_no_time_for_are_sent_again(service, batch_job, control):
    client, name = batch_job
    before, keys = len(collections(service)), {f"t{i}" for i in range(100)}
    control.add_fault("busy-item", count=40, rate=0.5)
    said: list[str] = []

    with submitting(client, name, say=said.append) as (submitter, failed):
        submitter.add([request(key) for key in sorted(keys)])
        wait_until(lambda: ids(client, name) == keys)
        wait_until(lambda: len(said) == 2)

    assert failed == {}
    first, *more = collections(service)[before:]
    assert first == 100
    assert 0 < more[0] < 100  # only those that were not created
    assert said[0].startswith(
        "Azure Batch asks for fewer requests, waiting for it: the service refused the task: ServerBusy"
    )
    assert said[1].startswith("Azure Batch answers again, after ")


def test_what_the_service_never_has_time_for_is_given_up(batch_job, control):
    client, name = batch_job
    control.add_fault("busy-item")

    with submitting(client, name, limit_s=0) as (submitter, failed):
        submitter.add([request("a"), request("b")])
        wait_until(lambda: len(failed) == 2)

    assert ids(client, name) == set()
    for error in failed.values():
        assert isinstance(error, OutOfPatience)
        assert error.failure.cause is Cause.THROTTLED
        assert "the service refused the task: ServerBusy" in str(error)


def test_a_task_that_is_there_already_is_ours(batch_job):
    client, name = batch_job
    client.create_task(name, task(request("again")))

    with submitting(client, name) as (submitter, failed):
        submitter.add([request("again"), request("new")])
        wait_until(lambda: "new" in ids(client, name))

    assert failed == {}


def test_a_job_that_cannot_be_prepared_is_told_and_the_rest_goes_on(batch_job):
    client, name = batch_job

    def prepare(job: JobRequest) -> Task:
        if job.key == "bad":
            raise StagingError("input file x is missing")
        return task(job)

    with submitting(client, name, prepare) as (submitter, failed):
        submitter.add([request("bad"), request("good")])
        wait_until(lambda: "good" in ids(client, name))

    assert {key: str(error) for key, error in failed.items()} == {"bad": "input file x is missing"}


def test_a_slow_upload_does_not_hold_up_the_others(batch_job):
    client, name = batch_job
    uploaded = threading.Event()

    def prepare(job: JobRequest) -> Task:
        if job.key == "slow":
            assert uploaded.wait(PATIENCE_S)
        return task(job)

    with submitting(client, name, prepare) as (submitter, _):
        submitter.add([request("slow"), request("quick")])
        wait_until(lambda: ids(client, name) == {"quick"})
        uploaded.set()
        wait_until(lambda: ids(client, name) == {"quick", "slow"})


def test_a_batch_job_that_is_gone_fails_every_job(service, batch_job):
    client, _ = batch_job

    with submitting(client, "no-such-job") as (submitter, failed):
        submitter.add([request("a"), request("b")])
        wait_until(lambda: len(failed) == 2)

    assert all("JobNotFound" in str(error) for error in failed.values()), failed


def test_tasks_too_large_for_one_request_are_split(batch_job):
    client, name = batch_job

    def large(job: JobRequest) -> Task:
        environment = [{"name": "PADDING", "value": "x" * 300_000}]
        return {"id": job.key, "commandLine": "true", "environmentSettings": environment}

    with submitting(client, name, large) as (submitter, failed):
        submitter.add([request(f"large{i}") for i in range(8)])
        wait_until(lambda: len(ids(client, name)) == 8)

    assert failed == {}
