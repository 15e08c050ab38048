"""A further pool is opened while a run goes on: what is waited for then, and what not."""

import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest

from snakemake_executor_azurebatch.emulator.control import Control
from tests.contract.conftest import wait_until

from . import test_lease

#: The fixtures of the tests of leases.
own, client = test_lease.own, test_lease.client

#: The second pool is needed only when the first one has been used for a while.
LATER = """
rule all:
    input: "large0.txt", "large1.txt", "held.txt"

rule small:
    output: "small.txt"
    shell: "touch HERE/begun; until [ -e HERE/on ]; do sleep 0.1; done; touch {output}"

rule held:
    output: "held.txt"
    shell: "until [ -e HERE/end ]; do sleep 0.1; done; touch {output}"

rule large:
    input: "small.txt"
    output: "large{n}.txt"
    resources: mem_mib=20000
    shell: "touch {output}"
"""

POOLS = """
pools:
  - {name: small, vm_size: Standard_D2ds_v5, nodes: {dedicated: 2}}
  - {name: large, vm_size: Standard_E4ds_v5, nodes: {dedicated: 1}}
"""


@contextmanager
def running(own, snakefile, *arguments):
    """A run on two pools; what it says is in ``log``."""
    own.write("Snakefile", snakefile.replace("HERE", str(own.path)))
    own.write("pools.yaml", POOLS)
    command = own.azurebatch("--azurebatch-pools", "pools.yaml", "--keep-going", *arguments)
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    with (own.path / "log").open("w") as log:
        run = subprocess.Popen(
            command, cwd=own.path, env=own.variables(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def test_an_outage_while_a_further_pool_is_opened_is_waited_for(own, client):
    control = Control(own.service)
    with running(own, LATER) as run:
        wait_until(lambda: (own.path / "begun").exists() or run.poll() is not None)
        control.add_fault("throttle", status=503, method="GET", route="/pools/{poolId}", seconds=0, count=9)
        control.add_fault("lost-answer", method="POST", route="/jobs", count=1)
        for name in ("on", "end"):
            own.write(name, "")
        assert run.wait() == 0, own.read("log")
    text = own.read("log")
    assert text.count("Azure Batch asks for fewer requests, waiting for it") == 1
    assert "Azure Batch answers again" in text
    assert len(list(client.list_jobs())) == 2
    assert "Error in rule" not in text


def failed(text: str) -> set[str]:
    """Ids of jobs of the rule large that have failed; some versions of Snakemake tell of each once more at the end."""
    return set(re.findall(r"Error in rule large:.*?jobid: (\d+)", text, re.DOTALL))


@pytest.mark.parametrize("signalled", [False, True])
def test_room_for_a_further_batch_job_is_waited_for_once_for_all_its_jobs(own, client, signalled):
    patience = "60" if signalled else "0.02"
    with running(own, LATER, "--azurebatch-service-patience", patience) as run:
        wait_until(lambda: (own.path / "begun").exists() or run.poll() is not None)
        Control(own.service).add_fault("job-quota", limit=1)
        own.write("on", "")
        wait_until(lambda: "Waiting until another Batch job" in own.read("log") or run.poll() is not None)
        if signalled:
            os.kill(run.pid, signal.SIGINT)
        else:
            wait_until(lambda: len(failed(own.read("log"))) == 2 or run.poll() is not None)
        own.write("end", "")
        assert run.wait() != 0
    text = own.read("log")
    assert text.count("Waiting until another Batch job of the account ends") == 1
    assert len(failed(text)) == (0 if signalled else 2)
    assert (own.path / "held.txt").exists() is not signalled
    wait_until(lambda: [str(job.state.value) for job in client.list_jobs()] == ["completed"])
