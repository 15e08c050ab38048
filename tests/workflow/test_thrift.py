"""Nothing moves twice, nothing stays that nobody needs, and what every task used is kept."""

import hashlib
import json
import re
import shutil
import subprocess
import time
import uuid
from datetime import datetime
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.node.protocol import CacheLimits
from tests.workflow.counting import counting
from tests.workflow.test_interrupt import started_by

JOBS = 4
WORKFLOW = f"""
rule all:
    input: "total.txt", "copied.txt"

rule total:
    input: expand("mid/{{i}}.txt", i=range({JOBS})), extra="copy.dat"
    output: "total.txt"
    shell: "cat {{input}} > {{output}}"

rule mid:
    input: "first/{{i}}.txt", "ref.dat"
    output: "mid/{{i}}.txt"
    log: "logs/{{i}}.txt"
    threads: 1
    resources: mem_mb=100
    shell: "(cat {{input}} | sha256sum > {{output}}) > {{log}}"

rule first:
    input: "in/{{i}}.txt", "ref.dat"
    output: temp("first/{{i}}.txt")
    shell: "cat {{input}} > {{output}}"

rule copied:
    input: "copy.dat", "ref.dat"
    output: "copied.txt"
    shell: "cat {{input}} > {{output}}"
"""

REFERENCE = b"reference" * 20_000


@pytest.fixture
def counter(workdir):
    """Blob storage of the workdir's runs is behind it."""
    name = "STORAGE_ACCOUNT_CONNECTION_STRING"
    connection = workdir.service.environment[name]
    port = re.search(r"BlobEndpoint=http://127\.0\.0\.1:(\d+)/", connection)[1]
    with counting(int(port)) as counter:
        workdir.environment[name] = connection.replace(f":{port}/", f":{counter.port}/")
        yield counter


@pytest.fixture
def prepared(workdir):
    workdir.write("Snakefile", WORKFLOW)
    for i in range(JOBS):
        workdir.write(f"in/{i}.txt", f"input {i}\n")
    for name in ("ref.dat", "copy.dat"):
        (workdir.path / name).write_bytes(REFERENCE)
    return workdir


def input_blob(workdir, *names: str) -> set[str]:
    return {f"inputs/{hashlib.sha256((workdir.path / name).read_bytes()).hexdigest()}" for name in names}


def records(workdir) -> list[dict]:
    return [json.loads(line) for line in workdir.read(".snakemake/azurebatch/tasks.jsonl").splitlines()]


def must_hold_what_stands_and_no_more(workdir, tasks: set[str]) -> None:
    """``tasks``: paths of outputs and logs that tasks have left; a log is no input of anything."""
    inputs = input_blob(workdir, "ref.dat", *(f"in/{i}.txt" for i in range(JOBS)))
    assert workdir.blobs("inputs/") == inputs
    left = {re.sub(r"^tasks/[^/]+/", "", blob) for blob in workdir.blobs("tasks/")}
    assert left == {f"outputs/{path}" for path in tasks}
    for area in ("sources/", "runtime/", "workdirs/"):
        assert len(workdir.blobs(area)) == 1, workdir.blobs("")


def test_nothing_moves_twice_and_nothing_stays_that_nobody_needs(prepared, counter):
    retention = ("--azurebatch-blob-retention", "run")

    first = prepared.run(*retention).must_succeed()

    reference = input_blob(prepared, "ref.dat", "copy.dat")
    assert len(reference) == 1
    sent = counter.sent("inputs/")
    assert sorted(sent) == sorted({*reference, *input_blob(prepared, *(f"in/{i}.txt" for i in range(JOBS)))})
    assert len(counter.sent("sources/")) == len(counter.sent("runtime/")) == 1
    assert counter.downloads(*reference) <= 2  # the number of nodes
    mids = {f"mid/{i}.txt" for i in range(JOBS)}
    must_hold_what_stands_and_no_more(prepared, {"total.txt", "copied.txt", *mids})
    must_tell_what_tasks_used(prepared)
    must_tell_where_it_ran_and_what_it_did(prepared, first.text)

    counter.asked.clear()
    prepared.run(*retention, "--forcerun", "total").must_succeed()

    assert counter.sent() == []
    must_hold_what_stands_and_no_more(prepared, {"total.txt", "copied.txt", *mids})

    before = input_blob(prepared, "in/0.txt")
    prepared.write("in/0.txt", "another input\n")
    counter.asked.clear()
    prepared.run(*retention).must_succeed()

    assert set(counter.sent("inputs/")) == input_blob(prepared, "in/0.txt")
    assert not prepared.blobs("inputs/") & before
    must_hold_what_stands_and_no_more(prepared, {"total.txt", "copied.txt", *mids})
    assert len(records(prepared)) == 2 * JOBS + 2 + 1 + 3
    prepared.nothing_to_do()


def must_tell_what_tasks_used(workdir) -> None:
    kept = records(workdir)
    assert len(kept) == 2 * JOBS + 2
    mid = next(row for row in kept if row["members"] == [{"rule": "mid", "wildcards": {"i": "2"}}])
    assert (mid["rule"], mid["outcome"], mid["cause"], mid["exit_code"]) == ("mid", "succeeded", None, 0)
    assert (mid["threads"], mid["attempt"], mid["resources"]["mem_mb"]) == (1, 1, 100)
    assert mid["node"].startswith("tvm")
    assert mid["started_at"] <= mid["ended_at"]
    assert mid["submitted_at"] <= mid["recorded_at"]
    assert {"setup", "stage_in", "command", "stage_out", "bring_back"} <= set(mid["timings_s"])
    assert mid["peak_memory_bytes"] > 0
    assert mid["returned_bytes"] == len(workdir.read("mid/2.txt"))
    assert sum(row["cache_bytes"] for row in kept) >= (2 * JOBS + 1 - 2) * len(REFERENCE)
    assert len({row["task"] for row in kept}) == len(kept)
    assert len({(row["run"], row["batch_job"], row["pool"]) for row in kept}) == 1
    assert sum(row["cache_hits"] for row in kept) > 1


def must_tell_where_it_ran_and_what_it_did(workdir, text: str) -> None:
    kept = records(workdir)
    host, pool = workdir.service.batch_url.partition("//")[2], kept[0]["pool"]
    container = container_name(str(workdir.path))
    assert f"Batch account {host}, blob container {container}, tasks in image {kept[0]['image']}.\nBatch job" in text
    begun = (
        rf"Batch job {kept[0]['batch_job']} on pool {pool} \((new|existing)\): Standard_D4s_v5, 0 to 2 dedicated nodes"
    )
    assert re.search(rf"\n{begun}\.\n", text), text
    files = [workdir.path / f"in/{i}.txt" for i in range(JOBS)]
    size = shown_bytes(sum(file.stat().st_size for file in files) + 2 * len(REFERENCE))
    assert text.count("To be uploaded for the first ") == 1
    assert f" jobs: {JOBS + 2} input files, at most {size}.\n" in text
    assert re.search(rf"\nJobs: {len(kept)} succeeded in \d+ s\. Tasks ran for \d+ s in all\.\n", text)
    told = re.search(rf"\nPool {pool}: at least (\d+) s of Standard_D4s_v5; price under 0\.01\.\n", text)
    assert told, text
    assert int(told[1]) + 0.5 >= longest_s(kept)
    assert re.search(r"\nSent \S+ .iB, brought back \S+ .*B\. Nodes downloaded .* and found .* times\) in their", text)
    assert "Most memory: " in text
    assert "Tasks were" not in text
    assert text.index("To be uploaded") < text.index("\nJobs: ")


def longest_s(kept: list[dict]) -> float:
    """What the longest task took."""
    times = [[datetime.fromisoformat(row[name]) for name in ("started_at", "ended_at")] for row in kept]
    return max((ended - started).total_seconds() for started, ended in times)


SLOW = """
rule all:
    input: "slow.txt"

rule slow:
    input: "quick.txt", "in/1.txt"
    output: "slow.txt"
    shell: "test -e {go} || exec sleep 600; cp {{input[0]}} {{output}}"

rule quick:
    input: "in/0.txt"
    output: "quick.txt"
    shell: "cp {{input}} {{output}}"
"""


def end_batch_jobs(service, pool_id: str) -> None:
    """As the next run would, but wait for it: nothing is removed while a Batch job has not ended."""
    credential = AzureNamedKeyCredential(service.account, service.environment["BATCH_ACCOUNT_KEY"])
    with BatchClient(service.batch_url, credential) as batch:
        for job in batch.list_jobs(filter="state eq 'active'"):
            if job.pool_info.pool_id == pool_id:
                batch.begin_terminate_job(job.id, {"terminateReason": "Test"}, polling_interval=0.2).wait(300)


def test_what_a_killed_run_left_is_removed_by_the_next(prepared):
    go = prepared.path.parent / "go"
    prepared.write("Snakefile", SLOW.format(go=go))
    pool = ("--azurebatch-pool-id", f"thrift-{prepared.path.parent.name}"[:64])
    running = subprocess.Popen(
        prepared.azurebatch(*pool),
        cwd=prepared.path,
        env=prepared.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any("sleep 600" in line for line in started_by(str(prepared.path))):
        assert running.poll() is None
        time.sleep(0.2)
    running.kill()
    running.wait()
    end_batch_jobs(prepared.service, pool[1])
    assert any("slow" in blob for blob in prepared.blobs("tasks/"))
    go.touch()
    prepared.run_locally("--unlock").must_succeed()

    done = prepared.run(*pool, "--azurebatch-blob-retention", "run", "--rerun-incomplete").must_succeed()

    kept = {re.sub(r"^tasks/[^/]+/", "", blob) for blob in prepared.blobs("tasks/")}
    assert kept == {"outputs/quick.txt", "outputs/slow.txt"}, done.text
    # in/0.txt was perhaps too young to be remembered when its run was killed
    assert input_blob(prepared, "in/1.txt") <= prepared.blobs("inputs/")
    assert prepared.blobs("inputs/") <= input_blob(prepared, "in/0.txt", "in/1.txt")


@pytest.mark.long
def test_workdirs_share_a_blob_container(prepared):
    twin = type(prepared)(prepared.path.parent / "twin", prepared.service)
    shutil.copytree(prepared.path, twin.path)
    name = f"shared-{uuid.uuid4().hex}"
    shared = ("--azurebatch-blob-container", name, "--azurebatch-blob-retention", "run", "copied.txt")
    twin.run(*shared).must_succeed()
    (twin.path / "copied.txt").unlink()
    theirs = twin.blobs("", container=name)

    prepared.run(*shared).must_succeed()
    (prepared.path / "copied.txt").unlink()
    prepared.run(*shared).must_succeed()

    own = prepared.blobs("", container=name) - theirs
    assert {blob.partition("/")[0] for blob in own} == {container_name(str(prepared.path))}
    assert {blob.partition("/")[0] for blob in theirs} == {container_name(str(twin.path))}
    assert theirs < twin.blobs("", container=name)
    assert len([blob for blob in own if blob.endswith("/outputs/copied.txt")]) == 1


def test_by_default_young_blobs_stay_and_limits_reach_the_node(prepared):
    limits = ("--azurebatch-node-cache", "off", "--azurebatch-node-free", "500M")
    outcome = prepared.run(*limits, "--azurebatch-keep-task-files", "none", "--verbose", "copied.txt").must_succeed()

    assert {Path(blob).name for blob in prepared.blobs("tasks/")} == {"commit.json", "copied.txt"}
    [row] = records(prepared)
    assert (row["cache_hits"], row["cache_bytes"]) == (0, 0)
    assert f"Task {row['task']}: copied succeeded on {row['node']}: setup " in outcome.text
    [manifest] = prepared.manifests()
    assert manifest.cache == CacheLimits(max_bytes=0, min_free_bytes=500 << 20)
    assert manifest.keep_files == "none"
