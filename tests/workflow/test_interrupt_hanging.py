"""Ctrl-C while Azure does not answer: the end comes soon, and a second Ctrl-C ends everything at once."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.workflow.hanging import Hanging, hanging

JOBS = """
rule all:
    input: expand("held{i}.txt", i=range(3)), expand("quick{i}.txt", i=range(3))

rule held:
    output: "held{i}.txt"
    shell: "touch MARK.{wildcards.i}; until test -e GO; do sleep 0.1; done; touch {output}"

rule quick:
    output: "quick{i}.txt"
    shell: "until test -e MARK.quick; do sleep 0.1; done; touch {output}"
"""

PATIENCE_S = 240
#: Without a bound, the first request alone would be waited for longer: READ_TIMEOUT_S, several times.
LIMIT_S = 45
STORAGE = "STORAGE_ACCOUNT_CONNECTION_STRING"


@pytest.fixture
def proxies(workdir) -> Iterator[dict[str, Hanging]]:
    """The services of a run, each behind a proxy that can hang; the tasks that it leaves are ended."""
    go, mark = workdir.path.parent / "go", workdir.path.parent / "mark"
    workdir.write("Snakefile", JOBS.replace("GO", str(go)).replace("MARK", str(mark)))
    batch_port = int(workdir.service.batch_url.rstrip("/").rpartition(":")[2])
    connection = workdir.service.environment[STORAGE]
    blob_port = int(re.search(r"BlobEndpoint=http://127\.0\.0\.1:(\d+)/", connection)[1])
    with hanging(batch_port) as batch, hanging(blob_port) as blob:
        workdir.environment["BATCH_ACCOUNT_URL"] = f"http://127.0.0.1:{batch.port}"
        workdir.environment[STORAGE] = connection.replace(f":{blob_port}/", f":{blob.port}/")
        # A blob endpoint behind the proxy would be the nodes' too: they hang with it, which is all the same here.
        yield {"batch": batch, "blob": blob}
        go.touch()


@contextmanager
def running(workdir) -> Iterator[subprocess.Popen[str]]:
    """A run whose first tasks run; it is killed at the end if it is still there."""
    command = workdir.azurebatch("--azurebatch-pool-id", f"hang-{workdir.path.parent.name}"[:64])
    at = command.index("--azurebatch-account-url")
    del command[at : at + 2]  # the variable names the proxy
    process = subprocess.Popen(
        command,
        cwd=workdir.path,
        env=workdir.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        give_up_s = time.monotonic() + PATIENCE_S
        while not list(workdir.path.parent.glob("mark.*")):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < give_up_s
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("which", [*(pytest.param(one, marks=pytest.mark.long) for one in ("batch", "blob")), "both"])
def test_the_first_ends_the_run_soon(workdir, proxies, which):
    hanging_now = [proxy for name, proxy in proxies.items() if which in (name, "both")]
    with running(workdir) as process:
        for proxy in hanging_now:
            proxy.hang()
        (workdir.path.parent / "mark.quick").touch()
        for name, proxy in proxies.items():
            if which == name:  # something of the run waits for it now
                assert proxy.swallowed.wait(PATIENCE_S)
        began_s = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - began_s

    assert process.returncode == 1, text
    assert "unfinished jobs on Azure Batch." in text
    assert took_s < LIMIT_S, text
    assert "Traceback" not in text
    assert "Azure has not answered within 12 s and is not waited for." in text
    workdir.run_locally("--unlock").must_succeed()


def test_a_second_one_leaves_at_once(workdir, proxies):
    with running(workdir) as process:
        for proxy in proxies.values():
            proxy.hang()
        os.kill(process.pid, signal.SIGINT)
        said = []
        for line in process.stdout:
            said.append(line)
            if "Terminating processes on user request" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, "".join(said) + text
    assert "Left at once." in text
    assert "Traceback" not in text
    assert not list((workdir.path / ".snakemake/locks").glob("*")), "the lock is gone"
