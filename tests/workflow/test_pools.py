"""``pools.yaml``: several pools in one run, each job on the cheapest that has what its rule asks for."""

import re

import pytest
from azure.batch import BatchClient, models

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.emulator.service import RunningService
from snakemake_executor_azurebatch.options import Account
from snakemake_executor_azurebatch.pools.catalogue import spelled
from snakemake_executor_azurebatch.run.records import read_records
from tests.workflow.conftest import Outcome, Workdir

POOLS = """\
pools:
  - {name: NAME-small, vm_size: Standard_D2ds_v5, nodes: {dedicated: {max: 1}}}
  - {name: NAME-memory, requirements: {memory_gib: 100, families: [E]}, nodes: {dedicated: {max: 1}}, task_slots: 8}
  - {name: NAME-gpu, vm_size: Standard_NC4as_T4_v3, nodes: {spot: 1}, images: [tool:1], limits: false}
  - {name: NAME-unused, vm_size: Standard_M128ms, nodes: {dedicated: 1}}
"""

SNAKEFILE = """\
rule all:
    input: "plain.txt", "large.txt", "model.txt", "named.txt", "kept.txt"

rule plain:
    output: "plain.txt"
    shell: "echo plain > {output}"

rule large:
    output: "large.txt"
    resources: mem_mb=lambda wildcards, attempt: attempt * 60000
    shell: "echo large > {output}"

rule model:
    output: "model.txt"
    resources: gpu=1, gpu_model="T4"
    shell: "echo model > {output}"

rule named:
    input: "plain.txt"
    output: "named.txt"
    threads: 2
    resources: azurebatch_pool="NAME-memory"
    shell: "cat {input} > {output}"

rule kept:
    output: "kept.txt"
    threads: 2
    resources: azurebatch_spot=False
    shell: "echo kept > {output}"
"""


@pytest.fixture
def batch(service: RunningService):
    environment = service.environment
    account = Account(service.batch_url, environment["BATCH_ACCOUNT_NAME"], environment["BATCH_ACCOUNT_KEY"])
    with clients.batch_client(account) as client:
        yield client


@pytest.fixture
def name(workdir) -> str:
    """Pools of different tests have different names: the service is theirs all."""
    return "t" + str(abs(hash(workdir.path)))[:10]


def run(workdir: Workdir, *arguments: str) -> Outcome:
    command = workdir.azurebatch(*arguments)
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    return workdir.call(command)


def pools_of(batch: BatchClient, name: str) -> dict[str, models.BatchPool]:
    """The pools of a test, by the part of their id that is written in its file."""
    return {str(pool.id).split("-")[2]: pool for pool in batch.list_pools() if str(pool.id).startswith(f"smk-{name}-")}


def tasks_of(workdir: Workdir) -> dict[str, dict]:
    return {row["rule"]: row for row in read_records(workdir.path / ".snakemake/azurebatch/tasks.jsonl")}


def test_each_job_goes_to_the_cheapest_pool_that_fits(workdir, batch, name):
    workdir.write("Snakefile", SNAKEFILE.replace("NAME", name))
    workdir.write("profile/pools.yaml", POOLS.replace("NAME", name))
    workdir.write("profile/config.yaml", "azurebatch-pools: pools.yaml\n")

    text = run(workdir, "--profile", "profile").must_succeed().text

    pools = pools_of(batch, name)
    assert sorted(pools) == ["gpu", "memory", "small"]
    assert [pools[kind].task_slots_per_node for kind in sorted(pools)] == [4, 8, 2]
    assert [pools[kind].target_low_priority_nodes for kind in sorted(pools)] == [1, 0, 0]
    rows = tasks_of(workdir)
    assert {rule: row["pool"] for rule, row in rows.items()} == {
        "plain": pools["small"].id,
        "large": pools["memory"].id,
        "model": pools["gpu"].id,
        "named": pools["memory"].id,
        "kept": pools["small"].id,
    }
    tasks = {rule: batch.get_task(row["batch_job"], row["task"]) for rule, row in rows.items()}
    slots = {rule: task.required_slots for rule, task in tasks.items()}
    assert slots == {"plain": 1, "large": 4, "model": 4, "named": 1, "kept": 2}
    options = {rule: task.container_settings.container_run_options for rule, task in tasks.items()}
    assert options["large"] == "--cpus 1 --memory 57733m"
    assert options["kept"] == "--cpus 2"
    assert options["model"] is None
    assert len({row["batch_job"] for row in rows.values()}) == 3
    assert all(batch.get_job(row["batch_job"]).state == "completed" for row in rows.values())
    assert text.count("Batch account ") == 1
    for pool in pools.values():
        size = spelled(pool.vm_size)
        assert f"on pool {pool.id} (new): {size}, " in text
        jobs = sum(row["pool"] == pool.id for row in rows.values())
        told = rf"\nPool {pool.id}: jobs: {jobs} succeeded; at least \d+ s of {size}; price under 0\.01\.\n"
        assert re.search(told, text), text
    assert "\nJobs: 5 succeeded in " in text
    workdir.nothing_to_do()


def test_what_fits_nowhere_is_told_before_any_pool_is_made(workdir, batch, name):
    workdir.write("Snakefile", SNAKEFILE.replace("NAME", name).replace("60000", "6000000").replace("gpu=1", "gpu=9"))
    workdir.write("pools.yaml", POOLS.replace("NAME", name))

    text = run(workdir, "--azurebatch-pools", "pools.yaml").must_fail().text

    assert "rule large needs 5587.9 GiB of memory; the most that a node gives to tasks is 3697.4 GiB" in text
    assert "rule model needs 9 GPUs; the most that a node gives to tasks is 1 GPU (pool" in text
    assert not pools_of(batch, name)


def test_a_bad_file_is_told_at_the_start(workdir):
    workdir.write("Snakefile", SNAKEFILE)
    workdir.write("pools.yaml", POOLS.replace("dedicated: 1}", "dedicated: ten}"))

    text = run(workdir, "--azurebatch-pools", "pools.yaml").must_fail().text

    assert "pools.yaml:5: pools[3].nodes.dedicated: 'ten' is not allowed" in text


def test_a_pool_of_the_users_own_is_used_as_it_is_and_stays(workdir, batch, name):
    """Beside one that is made, with a start task, and goes at the end."""
    container = models.BatchContainerConfiguration(type="dockerCompatible")
    image = models.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204")
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 22.04", container_configuration=container
    )
    own = f"own-{name}"
    batch.create_pool(
        models.BatchPoolCreateOptions(
            id=own, vm_size="Standard_D4s_v5", virtual_machine_configuration=machine, target_dedicated_nodes=1
        )
    )
    workdir.write("start.sh", 'echo "started with $(cat extra.txt)" > "$AZ_BATCH_NODE_SHARED_DIR/told"\n')
    workdir.write("extra.txt", "extras\n")
    workdir.write(
        "pools.yaml",
        f"pools:\n  - {{id: {own}, task_slots: 3}}\n  - name: {name}\n    vm_size: Standard_D2s_v5\n"
        "    nodes: {dedicated: 1}\n    start_task: {script: start.sh, files: [extra.txt], elevated: false}\n",
    )
    workdir.write(
        "Snakefile",
        """\
rule all:
    input: "mine.txt", "made.txt"

rule mine:
    output: "mine.txt"
    resources: azurebatch_vm_size="Standard_D4s_v5"
    shell: "echo $AZ_BATCH_POOL_ID > {output}"

rule made:
    output: "made.txt"
    resources: azurebatch_vm_size="Standard_D2s_v5"
    shell: "cat $AZ_BATCH_NODE_SHARED_DIR/told > {output}"
""",
    )

    text = run(workdir, "--azurebatch-pools", "pools.yaml", "--azurebatch-delete-pool").must_succeed().text

    assert f"Pool {own} is used as it is: task_slots: 3 is written, the pool has 1." in text
    assert workdir.read("mine.txt") == f"{own}\n"
    assert workdir.read("made.txt") == "started with extras\n"
    assert str(batch.get_pool(own).state) != "deleting"
    assert all(str(pool.state) == "deleting" for pool in pools_of(batch, name).values())
