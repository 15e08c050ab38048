"""A run on several pools whose controller is killed: the next one goes on with what waits and runs."""

import os
import re
import signal

from tests.contract.conftest import wait_until

from . import test_lease
from .test_lease import started

#: The fixtures of the tests of leases.
own, client = test_lease.own, test_lease.client

SNAKEFILE = """
rule all:
    input: expand("small/{n}.txt", n=range(9)), expand("large/{n}.txt", n=range(2))

rule small:
    output: "small/{n}.txt"
    shell: "echo small {wildcards.n} >> {HERE}/starts; until [ -e {HERE}/end ]; do sleep 0.1; done; touch {output}"

rule large:
    output: "large/{n}.txt"
    resources: mem_mib=20000
    shell: "echo large {wildcards.n} >> {HERE}/starts; until [ -e {HERE}/end ]; do sleep 0.1; done; touch {output}"
"""

#: Eight slots on four nodes for nine small tasks: one of them waits.
POOLS = """
pools:
  - {name: small, vm_size: Standard_D2ds_v5, nodes: {spot: 4}}
  - {name: large, vm_size: Standard_E4ds_v5, nodes: {dedicated: 2}}
"""


def test_what_waits_and_what_runs_is_taken_over(own, client, monkeypatch):
    monkeypatch.setattr(test_lease, "SNAKEFILE", SNAKEFILE)
    monkeypatch.setattr(test_lease, "POOLS", POOLS)
    first = started(own, jobs=20)
    try:
        wait_until(lambda: len(starts(own)) == 10 or first.poll() is not None)
        assert first.poll() is None, own.read("log")
        jobs = {str(job.id) for job in client.list_jobs()}
        wait_until(lambda: sum(client.get_job_task_counts(job).task_counts.active for job in jobs) == 1)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()

    own.run_locally("--unlock").must_succeed()
    second = started(own, jobs=20)
    try:
        wait_until(lambda: len(re.findall("Went on with", own.read("log"))) == 2 or second.poll() is not None)
        own.write("end", "")
        assert second.wait() == 0, own.read("log")
    finally:
        second.kill()
        second.wait()

    text = own.read("log")
    assert "An earlier run has left 11 tasks that wait or run, and 0 tasks that have ended." in text
    assert len(re.findall("Batch job .* of an earlier run on pool", text)) == 2
    assert sorted(starts(own)) == sorted([*(f"small {n}" for n in range(9)), "large 0", "large 1"])
    assert {str(job.id) for job in client.list_jobs()} == jobs
    assert all(client.get_job(job).state == "completed" for job in jobs)
    own.nothing_to_do()


def test_what_goes_to_another_pool_now_does_not_go_on_on_the_first_one(own, client, monkeypatch):
    monkeypatch.setattr(test_lease, "POOLS", POOLS)
    monkeypatch.setattr(test_lease, "SNAKEFILE", SNAKEFILE.replace("range(9)", "[]"))
    first = started(own)
    try:
        wait_until(lambda: len(starts(own)) == 2 or first.poll() is not None)
        assert first.poll() is None, own.read("log")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    [job] = [str(job.id) for job in client.list_jobs()]

    own.run_locally("--unlock").must_succeed()
    monkeypatch.setattr(test_lease, "SNAKEFILE", SNAKEFILE.replace("range(9)", "[]").replace("20000", "100"))
    monkeypatch.setattr(test_lease, "POOLS", POOLS.replace("name: small,", "name: small, rules: [large],"))
    second = started(own)
    try:
        wait_until(lambda: len(starts(own)) == 4 or second.poll() is not None)
        assert second.poll() is None, own.read("log")
        assert [task.state for task in client.list_tasks(job)] == ["completed"] * 2
        own.write("end", "")
        assert second.wait() == 0, own.read("log")
    finally:
        second.kill()
        second.wait()

    assert own.read("log").count("Ended task large-") == 2
    own.nothing_to_do()


def starts(own) -> list[str]:
    file = own.path / "starts"
    return file.read_text().splitlines() if file.exists() else []
