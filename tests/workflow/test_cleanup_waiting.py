"""``snakemake-azurebatch cleanup`` while a run of another folder waits for room on a pool of this one."""

import os
import signal
import subprocess
from dataclasses import replace

from snakemake_executor_azurebatch.emulator.control import Control
from snakemake_executor_azurebatch.pools.formula import lines_of
from tests.contract.conftest import wait_until

from . import test_lease
from .test_cli_looks import tool

#: The fixtures of the tests of leases.
own, client = test_lease.own, test_lease.client

SNAKEFILE = 'rule a:\n    output: "a.txt"\n    shell: "touch {output}"\n'


def test_a_pool_that_a_waiting_run_leases_stays(own, client):
    own.write("Snakefile", SNAKEFILE)
    pool = ("--azurebatch-pool-id", "shared", "--azurebatch-scaling", "lease")
    own.run(*pool).must_succeed()
    Control(own.service).clock(advanceSeconds=700)
    assert len(lines_of(client.get_pool("shared").auto_scale_formula)) == 1, "whose lease is over"
    other = replace(own, path=own.path.parent / "other")
    other.path.mkdir()
    other.write("Snakefile", SNAKEFILE)
    Control(own.service).add_fault("job-quota", limit=0)
    with (other.path / "log").open("w") as log:
        run = subprocess.Popen(other.azurebatch(*pool), cwd=other.path, env=other.variables(), stdout=log, stderr=log)
    try:
        wait_until(lambda: "Waiting until another Batch job" in other.read("log") or run.poll() is not None)
        wait_until(lambda: len(lines_of(client.get_pool("shared").auto_scale_formula)) == 2)
        done = tool(own, "cleanup", "--older-than", "0", "--yes")
        assert "Pool shared stays: a run leases it until" in done.stderr
        assert client.get_pool("shared").state == "active"
        os.kill(run.pid, signal.SIGINT)
        run.wait()
    finally:
        run.kill()
        run.wait()
    Control(own.service).clock(advanceSeconds=700)
    tool(own, "cleanup", "--older-than", "0", "--yes")
    wait_until(lambda: not list(client.list_pools()))
