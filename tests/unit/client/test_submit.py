"""The submitter alone: how much is under way at the same time, and what happens at the end."""

import threading

from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.run.submit import MAX_COLLECTION, PREPARED_AT_MOST, SENDERS, WORKERS, Submitter
from snakemake_executor_azurebatch.tasks import Task

PATIENCE_S = 60


def requests(count: int) -> list[JobRequest]:
    return [JobRequest(key=f"t{n}", name="rule", threads=1, runtime_s=None, script="") for n in range(count)]


def task(job: JobRequest) -> Task:
    return {"id": job.key, "commandLine": "true"}


def test_collections_are_under_way_in_parallel():
    meet = threading.Barrier(SENDERS + 1)

    def create(tasks) -> dict:
        meet.wait(PATIENCE_S)
        return {}

    submitter = Submitter(create, task, print)
    submitter.add(requests(SENDERS * MAX_COLLECTION))
    meet.wait(PATIENCE_S)  # all of them were there at once
    submitter.stop()

    assert submitter.is_idle


def test_a_slow_service_holds_up_what_is_prepared():
    go, prepared, sizes = threading.Event(), [], []
    count = 20 * MAX_COLLECTION
    most = PREPARED_AT_MOST + (SENDERS + 1) * MAX_COLLECTION + WORKERS
    full = threading.Event()

    def prepare(job: JobRequest) -> Task:
        prepared.append(job.key)
        if len(prepared) == most:
            full.set()
        return task(job)

    def create(tasks) -> dict:
        go.wait(PATIENCE_S)
        sizes.append(len(tasks))
        return {}

    done: set[str] = set()
    all_done = threading.Event()

    def created(keys: list[str]) -> None:
        done.update(keys)
        if len(done) == count:
            all_done.set()

    submitter = Submitter(create, prepare, print, created)
    submitter.add(requests(count))
    assert full.wait(PATIENCE_S)
    held_at = len(prepared)
    go.set()
    assert all_done.wait(PATIENCE_S)
    submitter.stop()

    assert held_at == most
    assert sum(sizes) == count
    assert max(sizes) == MAX_COLLECTION


def test_the_end_comes_though_everything_is_full():
    go = threading.Event()
    submitter = Submitter(lambda tasks: go.wait(PATIENCE_S) and {}, task, print)
    submitter.add(requests(20 * MAX_COLLECTION))

    submitter.stop(patience_s=0.1)

    assert not submitter.is_idle
    go.set()
