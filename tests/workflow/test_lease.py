"""Leased pools, with real ``snakemake``: nodes when there is work, none when nobody is there."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY
from snakemake_executor_azurebatch.emulator.control import Control
from snakemake_executor_azurebatch.pools.formula import lines_of
from tests.contract.conftest import wait_until

from .conftest import Workdir

POOLS = """
pools:
  - name: small
    vm_size: Standard_D2ds_v5
    nodes: {dedicated: 1, spot: 4}
  - name: large
    vm_size: Standard_E4ds_v5
    nodes: {dedicated: {min: 1, max: 3}}
"""

SNAKEFILE = """
rule all:
    input: expand("small/{n}.txt", n=range(6)), expand("large/{n}.txt", n=range(2))

rule small:
    output: "small/{n}.txt"
    shell: "touch {HERE}/began.{wildcards.n}; until [ -e {HERE}/end ]; do sleep 0.1; done; touch {output}"

rule large:
    output: "large/{n}.txt"
    resources: mem_mib=20000
    shell: "touch {HERE}/large.{wildcards.n}; until [ -e {HERE}/end ]; do sleep 0.1; done; touch {output}"
"""


@pytest.fixture
def own(tmp_path) -> Iterator[Workdir]:
    """A workdir and a service of its own, whose clock can be moved on."""
    folder = tmp_path / "work"
    folder.mkdir()
    with emulator.start(tmp_path / "service", lifeline=True, progress=print) as started:
        yield Workdir(folder, started.service)


@pytest.fixture
def client(own) -> Iterator[BatchClient]:
    with BatchClient(own.service.batch_url, AzureNamedKeyCredential(own.service.account, DEVELOPMENT_KEY)) as client:
        yield client


def started(own: Workdir, jobs: int = 10) -> subprocess.Popen:
    own.write("Snakefile", f'HERE = "{own.path}"\n{SNAKEFILE}')
    own.write("pools.yaml", POOLS)
    command = own.azurebatch("--azurebatch-pools", "pools.yaml", jobs=jobs)
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    with (own.path / "log").open("w") as log:
        return subprocess.Popen(
            command, cwd=own.path, env=own.variables(), stdout=log, stderr=log, start_new_session=True
        )


def began(own: Workdir) -> int:
    return len([*own.path.glob("began.*"), *own.path.glob("large.*")])


def nodes(client: BatchClient) -> dict[str, int]:
    return {
        str(pool.id).split("-")[1]: sum(node.state != "leavingpool" for node in client.list_nodes(str(pool.id)))
        for pool in client.list_pools()
    }


def test_a_killed_controller_leaves_pools_that_empty_themselves(own, client):
    """SIGKILL at the peak: all that is started goes on, and then nothing is left that costs."""
    control = Control(own.service)
    run = started(own)
    try:
        wait_until(lambda: began(own) == 8 or run.poll() is not None)
        assert run.poll() is None, own.read("log")
        assert nodes(client) == {"small": 3, "large": 2}
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()

    # The lease has ended, and its formula is looked at: what runs keeps its nodes, for as long as it runs.
    control.clock(advanceSeconds=660)
    control.clock(advanceSeconds=300)
    assert nodes(client) == {"small": 3, "large": 2}
    assert began(own) == 8

    own.write("end", "")
    jobs = [str(job.id) for job in client.list_jobs()]
    wait_until(lambda: all(client.get_job_task_counts(job).task_counts.running == 0 for job in jobs))
    control.clock(advanceSeconds=60)
    control.clock(advanceSeconds=300)
    wait_until(lambda: nodes(client) == {"small": 0, "large": 0})
    for pool in client.list_pools():
        assert pool.auto_scale_run.error is None
        assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (0, 0)

    # Nothing was lost: the next run takes what is done.
    own.run_locally("--unlock").must_succeed()
    run = started(own)
    assert run.wait() == 0, own.read("log")
    assert "Went on with" in own.read("log")
    own.nothing_to_do()


def test_a_second_run_in_the_same_folder_takes_the_line_over(own, client):
    own.write("end", "")
    assert started(own).wait() == 0, own.read("log")
    (own.path / "small/0.txt").unlink()
    assert started(own).wait() == 0, own.read("log")
    (small,) = [pool for pool in client.list_pools() if str(pool.id).startswith("smk-small")]
    assert len(lines_of(small.auto_scale_formula)) == 1
    Control(own.service).clock(advanceSeconds=700)
    Control(own.service).clock(advanceSeconds=300)
    wait_until(lambda: nodes(client)["small"] == 0)
