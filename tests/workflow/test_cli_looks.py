"""``snakemake-azurebatch report``, ``status``, ``logs`` and ``cleanup`` after real runs, and where they cannot work."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

COMMAND = (sys.executable, "-c", "from snakemake_executor_azurebatch.cli.main import app; app()")
SNAKEFILE = """
rule all:
    input: "sum.txt"
rule part:
    output: "part/{n}.txt"
    threads: 1
    resources: mem_mb=100
    shell: "echo made {wildcards.n}; echo {wildcards.n} > {output}"
rule sum:
    input: expand("part/{n}.txt", n=range(3))
    output: "sum.txt"
    shell: "cat {input} > {output}"
rule bad:
    output: "bad.txt"
    shell: "echo this went wrong >&2; exit 3"
"""


def tool(workdir, *arguments, without=(), **environment):
    variables = {k: v for k, v in workdir.variables().items() if k not in without} | environment
    return subprocess.run(
        [*COMMAND, *arguments], cwd=workdir.path, env=variables, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


def refused(done, *words):
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def on_a_terminal(workdir, *arguments, **environment):
    """What a terminal is shown; the command's exit code."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=workdir.path, env=workdir.variables() | environment, stdin=follower,
        stdout=follower, stderr=follower,
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        process.wait(60)
    os.close(leader)
    return process.returncode, shown.decode()


def test_commands_after_runs(workdir):
    workdir.write("Snakefile", SNAKEFILE)
    # A pool of its own: what is removed here must not be missed by other tests. Its nodes stay: logs are read there.
    pool = ("--azurebatch-pool-id", "looked-at", "--azurebatch-scaling", "fixed")
    workdir.run(*pool).must_succeed()
    workdir.run("bad.txt", *pool).must_fail()
    runs = json.loads(tool(workdir, "report", "--list", "--json").stdout)
    assert [run["tasks"] for run in runs] == [4, 1]
    check_report(workdir, runs[0])
    check_status(workdir, runs[1]["batch_job"])
    check_logs(workdir)
    check_cleanup(workdir, {run["batch_job"] for run in runs})


def check_report(workdir, run):
    figures = json.loads(tool(workdir, "report", "--json", "--run", run["run"]).stdout)
    log = workdir.service.state_dir / "tasks.jsonl"
    served = [json.loads(line) for line in log.read_text().splitlines()]
    served = [line for line in served if line["job"] == run["batch_job"] and line["kind"] == "task"]
    assert figures["tasks"] == len(served) == 4
    by_node = {node["node"]: node["tasks"] for node in figures["nodes"]}
    assert by_node == {name: sum(line["node"] == name for line in served) for name in {s["node"] for s in served}}
    total_s = sum(rule["total_s"] for rule in figures["rules"])
    assert total_s == pytest.approx(served_s(workdir, run["batch_job"]), abs=0.002 * len(served))  # ms are kept
    made = tool(workdir, "report", "--run", run["batch_job"], "--node-price", "1", "-o", "run.html", COLUMNS="40")
    assert made.stdout == f"Run {run['run']}: 4 tasks, 0 failed. Page: run.html\n"
    assert ">Price</th>" in workdir.read("run.html")


def served_s(workdir, batch_job):
    """Seconds that the tasks of a Batch job have run, by the service."""
    credential = AzureNamedKeyCredential(workdir.service.account, workdir.service.environment["BATCH_ACCOUNT_KEY"])
    with BatchClient(workdir.service.batch_url, credential) as batch:
        infos = [task.execution_info for task in batch.list_tasks(batch_job)]
    return sum((info.end_time - info.start_time).total_seconds() for info in infos)


def check_status(workdir, batch_job):
    shown = tool(workdir, "status", COLUMNS="40")
    assert shown.returncode == 0, shown.stderr
    flat = re.sub(r"\s", "", shown.stdout)
    assert f"Batchjob{batch_job}:completed" in flat
    assert "1failed" in flat
    assert max(map(len, shown.stdout.splitlines())) <= 40
    state = json.loads(tool(workdir, "status", "--json").stdout)
    assert state["pools"][0]["nodes"]
    assert state["jobs"][0]["tasks"] == {"active": 0, "running": 0, "succeeded": 0, "failed": 1}
    status, live = on_a_terminal(workdir, "status")
    assert (status, batch_job in live) == (0, True)


def check_logs(workdir):
    saved = tool(workdir, "logs", "bad", without=("BATCH_ACCOUNT_URL", "BATCH_ACCOUNT_KEY"))
    assert (saved.returncode, "this went wrong" in saved.stdout) == (0, True), saved.stderr
    several = tool(workdir, "logs", "part")
    assert (several.returncode, several.stdout) == (3, "")
    assert "3 tasks match 'part'" in several.stderr
    listed = json.loads(tool(workdir, "logs", "part", "--json").stdout)
    one = tool(workdir, "logs", listed[0]["task"], "--follow")
    assert one.returncode == 0, one.stderr
    assert re.search(r"made \d", one.stdout + one.stderr)
    refused(tool(workdir, "logs", "nothing"), "No task 'nothing'")


def check_cleanup(workdir, batch_jobs):
    assert tool(workdir, "cleanup").stdout == "Nothing is left that is old enough.\n"
    refused(tool(workdir, "cleanup", "--older-than", "0"), "nobody can be asked here")
    lock = workdir.write(".snakemake/locks/0.input.lock", "")
    refused(tool(workdir, "cleanup", "--older-than", "0", "--yes"), "snakemake --unlock")
    lock.unlink()
    found = json.loads(tool(workdir, "cleanup", "--older-than", "0", "--blobs", "--json").stdout)["found"]
    jobs = {one["name"] for one in found if one["kind"] == "Batch job"}
    assert jobs == batch_jobs
    assert [one["name"] for one in found if one["kind"] == "pool"] == ["looked-at"]
    assert sum(one["kind"] == "blob container" for one in found) == 1
    done = tool(workdir, "cleanup", "--older-than", "0", "--blobs", "--yes")
    assert done.returncode == 0, done.stderr
    again = json.loads(tool(workdir, "cleanup", "--older-than", "0", "--blobs", "--json").stdout)["found"]
    assert not jobs & {one["name"] for one in again if one["kind"] == "Batch job"}
    assert not [one for one in again if one["kind"] in ("blob container", "pool")]


ASKING = (("status",), ("logs", "x"), ("cleanup",))


@pytest.fixture
def known(workdir):
    """A workdir with an id, in which no run has ended."""
    workdir.write(".snakemake/azurebatch/workdir.id", "0123456789abcdef0123456789abcdef")
    return workdir


def test_no_run_no_account_wrong_key_no_network(workdir, known):
    for arguments in ASKING:
        refused(tool(known, *arguments, without=("BATCH_ACCOUNT_URL",)), "no Batch account", "--account-url")
        key = "d3Jvbmc="
        wrong = tool(known, *arguments, BATCH_ACCOUNT_KEY=key)
        refused(wrong, "listing Batch jobs")
        assert key not in wrong.stderr
        refused(tool(known, *arguments, BATCH_ACCOUNT_URL="http://127.0.0.1:1"), "listing Batch jobs: no answer")
        helped = tool(known, arguments[0], "--help", COLUMNS="40")
        assert (helped.returncode, "Examples" in helped.stdout) == (0, True)
    refused(tool(known, "report"), "No run to report about")
    assert "Examples" in tool(known, "report", "--help").stdout
    assert tool(known, "status").stdout == "No Batch job of this working directory is in the account.\n"
    (known.path / ".snakemake/azurebatch/workdir.id").unlink()
    for arguments in ASKING:
        refused(tool(known, *arguments), "No run was started in")
