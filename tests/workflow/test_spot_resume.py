"""A task that was moved to dedicated nodes, by a run whose controller is killed then."""

import os
import signal
import subprocess

import pytest

from snakemake_executor_azurebatch.emulator.control import Control
from tests.contract.conftest import wait_until

from . import test_lease
from .test_spot import POOLS, SNAKEFILE, starts

#: The fixtures of the tests of leases.
own, client = test_lease.own, test_lease.client

#: Dearer than the spot nodes, so that nothing comes here first.
DEDICATED = """
  - name: sure
    vm_size: Standard_D2ds_v5
    nodes: {dedicated: 1}
"""


@pytest.mark.parametrize("pools", [POOLS, POOLS + DEDICATED], ids=["twin", "in-the-file"])
def test_a_task_that_was_moved_is_found_by_the_next_run(own, client, pools):
    first = started(own, pools)
    try:
        wait_until(lambda: len(starts(own)) == 1 or first.poll() is not None)
        assert first.poll() is None, own.read("log")
        assert len(Control(own.service).add_fault("preempt", count=1)["nodes"]) == 1
        wait_until(lambda: len(set(starts(own))) == 2 or first.poll() is not None)
        assert first.poll() is None, own.read("log")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    before = starts(own)

    own.run_locally("--unlock").must_succeed()
    second = started(own, pools)
    try:
        wait_until(lambda: second.poll() is not None or "of an earlier run on pool" in own.read("log"))
        own.write("end", "")
        assert second.wait() == 0, own.read("log")
    finally:
        second.kill()
        second.wait()

    assert "Went on with 1 of 1 jobs where an earlier run has left them." in own.read("log")
    assert starts(own) == before, "it was not started again"
    assert own.read("a.txt") == before[-1] + "\n"
    jobs = list(client.list_jobs())
    assert len(jobs) == 2
    assert all(job.state == "completed" for job in jobs)
    own.nothing_to_do()


def started(own, pools: str) -> subprocess.Popen:
    own.write("Snakefile", f'HERE = "{own.path}"\n{SNAKEFILE}')
    own.write("pools.yaml", pools)
    command = own.azurebatch("--azurebatch-pools", "pools.yaml", "--azurebatch-spot-preemptions", "1")
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    with (own.path / "log").open("w") as log:
        return subprocess.Popen(
            command, cwd=own.path, env=own.variables(), stdout=log, stderr=log, start_new_session=True
        )
