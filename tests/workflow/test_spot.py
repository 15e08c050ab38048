"""Tasks that lose their spot nodes again and again, with real ``snakemake``."""

import subprocess
from contextlib import contextmanager

from snakemake_executor_azurebatch.emulator.control import Control
from tests.contract.conftest import wait_until

from . import test_lease

#: The fixtures of the tests of leases.
own, client = test_lease.own, test_lease.client

POOLS = """
pools:
  - name: cheap
    vm_size: Standard_D2ds_v5
    nodes: {spot: 1}
"""

SNAKEFILE = """
rule all:
    input: "a.txt"

rule one:
    output: "a.txt"
    retries: 0
    shell:
        "echo $AZ_BATCH_POOL_ID >> HERE/starts; until [ -e HERE/end ]; do sleep 0.1; done; "
        "echo $AZ_BATCH_POOL_ID > {output}"
""".replace("HERE", "{HERE}")


@contextmanager
def unlucky(own):
    """A run whose only task has just lost its node for the second time."""
    own.write("Snakefile", f'HERE = "{own.path}"\n{SNAKEFILE}')
    own.write("pools.yaml", POOLS)
    command = own.azurebatch("--azurebatch-pools", "pools.yaml", "--azurebatch-spot-preemptions", "2")
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    with (own.path / "log").open("w") as log:
        run = subprocess.Popen(command, cwd=own.path, env=own.variables(), stdout=log, stderr=log)
    try:
        for number in (1, 2):
            wait_until(lambda number=number: len(starts(own)) == number or run.poll() is not None)
            assert run.poll() is None, own.read("log")
            struck = Control(own.service).add_fault("preempt", count=1)
            assert len(struck["nodes"]) == 1
        yield run
    finally:
        run.kill()
        run.wait()


def test_a_task_that_loses_its_node_twice_goes_to_dedicated_nodes(own, client):
    with unlucky(own) as run:
        wait_until(lambda: any("dedicated" in pool for pool in starts(own)) or run.poll() is not None)
        own.write("end", "")
        assert run.wait() == 0, own.read("log")
    text = own.read("log")
    assert text.count("it goes to dedicated nodes, pool smk-cheap-dedicated-") == 1
    assert "has lost 2 nodes" in text
    assert own.read("a.txt").startswith("smk-cheap-dedicated-")
    pools = {str(pool.id).rpartition("-")[0]: pool for pool in client.list_pools()}
    assert pools["smk-cheap-dedicated"].target_low_priority_nodes == 0
    assert "Error in rule" not in text
    own.nothing_to_do()


def test_it_stays_where_the_account_has_no_room_for_another_batch_job(own, client):
    """And nobody waits for room: the thread that would is the one that sees tasks end."""
    Control(own.service).add_fault("job-quota", limit=1)
    with unlucky(own) as run:
        wait_until(lambda: "cannot go to dedicated nodes" in own.read("log") or run.poll() is not None)
        own.write("end", "")
        assert run.wait() == 0, own.read("log")
    text = own.read("log")
    assert text.count("cannot go to dedicated nodes, and stays where it is") == 1
    assert "ActiveJobAndScheduleQuotaReached" in text
    assert "Waiting until another Batch job" not in text
    assert own.read("a.txt").startswith("smk-cheap-")
    assert "dedicated" not in own.read("a.txt")
    assert len(list(client.list_jobs())) == 1


def starts(own) -> list[str]:
    file = own.path / "starts"
    return file.read_text().splitlines() if file.exists() else []
