"""``snakemake-azurebatch plan``: what it says beforehand is what the run then does."""

import json
import re

import pytest
from azure.batch import BatchClient, models

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.options import Account
from snakemake_executor_azurebatch.run.records import read_records
from tests.workflow.conftest import Workdir
from tests.workflow.test_cli_looks import refused, tool

SNAKEFILE = """\
print("a Snakefile that prints")

localrules: local

rule all:
    input: "sum.txt", "kept.txt", "grouped.txt", "local.txt", "folder"

rule part:
    input: "in.txt"
    output: "part/{n}.txt"
    threads: 2
    resources: mem_mb=lambda wildcards, attempt: 3000 * attempt
    retries: 2
    shell: "cat {input} > {output}"

rule sum:
    input: expand("part/{n}.txt", n=range(3))
    output: "sum.txt"
    resources: disk_mb=lambda wildcards, input: max(1000, input.size_mb)
    run:
        shell("cat {input} > {output}")

rule kept:
    output: "kept.txt"
    container: "docker://tool:1"
    shell: "echo kept > {output}"

rule first:
    output: temp("first.txt")
    group: "both"
    resources: mem_mb=100
    shell: "echo > {output}"

rule second:
    input: "first.txt"
    output: "grouped.txt"
    group: "both"
    threads: 2
    shell: "cat {input} > {output}"

rule local:
    output: "local.txt"
    shell: "echo > {output}"

rule folder:
    input: "given"
    output: directory("folder")
    resources: azurebatch_lane=lambda wildcards: "snakemake"
    shell: "cp -r {input} {output}"
"""
POOLS = """\
pools:
  - {name: NAME-small, vm_size: Standard_D2ds_v5, nodes: {dedicated: {max: 2}}}
  - {name: NAME-memory, vm_size: Standard_E4ds_v5, nodes: {dedicated: {max: 1}}, task_slots: 8}
"""
RUN = ("--azurebatch-rule-containers", "--default-resources", "mem_mb=500")


@pytest.fixture
def batch(service):
    environment = service.environment
    account = Account(service.batch_url, environment["BATCH_ACCOUNT_NAME"], environment["BATCH_ACCOUNT_KEY"])
    with clients.batch_client(account) as client:
        yield client


@pytest.fixture
def work(workdir) -> Workdir:
    workdir.write("Snakefile", SNAKEFILE)
    workdir.write("in.txt", "given\n")
    workdir.write("given/a.txt", "a")
    workdir.write("given/more/b.txt", "bb")
    return workdir


def arguments(workdir: Workdir, *more: str, of_one_pool: bool = True) -> list[str]:
    """What is typed after ``snakemake``."""
    command = workdir.azurebatch(*more)[3:]
    if not of_one_pool:
        for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
            at = command.index(option)
            del command[at : at + 2]
    return command


def planned(workdir: Workdir, *snakemake: str, status: int = 0) -> dict:
    done = tool(workdir, "plan", "--json", "--", *snakemake)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def check(workdir: Workdir, batch: BatchClient, plan: dict) -> None:
    """Each task of the run against its row of the plan."""
    rows = {row["rule"]: row for row in plan["rules"]}
    records = [row for row in read_records(workdir.path / ".snakemake/azurebatch/tasks.jsonl") if row["attempt"] == 1]
    assert {rule: row["jobs"] for rule, row in rows.items()} == {
        rule: sum(record["rule"] == rule for record in records) for rule in {record["rule"] for record in records}
    }
    for record in records:
        row, task = rows[record["rule"]], batch.get_task(record["batch_job"], record["task"])
        seen = (record["pool"], task.required_slots, task.container_settings.image_name)
        assert seen == (row["pool_id"], row["slots"], row["image"])
        assert (record["lane"], record["staging"]) == (row["lane"], row["staging"])
    assert {pool["pool_id"] for pool in plan["pools"]} == {record["pool"] for record in records}


def test_a_run_on_several_pools_goes_as_planned(work, batch):
    name = "p" + str(abs(hash(work.path)))[:10]
    work.write("pools.yaml", POOLS.replace("NAME", name))
    snakemake = arguments(work, *RUN, "--azurebatch-pools", "pools.yaml", of_one_pool=False)

    plan = planned(work, *snakemake)

    rows = {row["rule"]: row for row in plan["rules"]}
    assert {rule: row["jobs"] for rule, row in rows.items()} == {
        "part": 3, "sum": 1, "kept": 1, "both": 1, "folder": 1
    }  # fmt: skip
    assert plan["local"] == {"all": 1, "local": 1}
    assert rows["both"]["members"] == ["first", "second"]
    assert rows["part"]["retries"][0].startswith("attempt 3: pool ")
    assert rows["sum"]["final"] == 0, "its disk_mb depends on files which are not there yet"
    assert rows["kept"]["staging_why"] == "an image of its own, which may have no Python"
    assert rows["folder"]["lane_why"] == "asked for"
    assert (plan["uploads"]["files"], plan["uploads"]["size_bytes"]) == (3, 9)
    assert (plan["refused"], plan["checkpoints"]) == ([], [])
    assert not [pool for pool in batch.list_pools() if name in str(pool.id)], "a plan makes nothing"
    assert not (work.path / ".snakemake/azurebatch").exists()

    work.call([*work.azurebatch()[:3], *snakemake]).must_succeed()
    check(work, batch, plan)
    work.nothing_to_do()


def test_pools_that_name_rules(work, batch):
    name = "n" + str(abs(hash(work.path)))[:10]
    named = POOLS.replace("NAME", name).replace("task_slots: 8}", 'task_slots: 8, rules: [part, "k*", second, nobody]}')
    work.write("pools.yaml", named)
    snakemake = arguments(work, *RUN, "--azurebatch-pools", "pools.yaml", of_one_pool=False)

    split = planned(work, *snakemake, status=1)["refused"]
    assert split == [
        (
            f"group both: its rules may go to no pool together: first may go to {name}-small; second may go to "
            f"{name}-memory ('second'). Name them in the rules of one pool."
        )
    ]
    told = work.call([*work.azurebatch()[:3], *snakemake, "grouped.txt"]).must_fail().text
    assert split[0] in told
    assert not [pool for pool in batch.list_pools() if name in str(pool.id)]

    work.write("pools.yaml", named.replace("second", "first, second"))
    snakemake += ["--set-resources", f"folder:azurebatch_pool={name}-memory"]
    plan = planned(work, *snakemake)
    assert {row["rule"]: (row["pool"].rpartition("-")[2], row["pool_why"]) for row in plan["rules"]} == {
        "part": ("memory", f"named by rules of pool {name}-memory ('part'), the only pool that fits"),
        "sum": ("small", "the only pool that fits"),
        "kept": ("memory", f"named by rules of pool {name}-memory ('k*'), the only pool that fits"),
        "both": ("memory", f"named by rules of pool {name}-memory ('first', 'second'), the only pool that fits"),
        "folder": ("memory", "asked for (azurebatch_pool)"),
    }
    unused = f"Note: pool {name}-memory names 'nobody' in its rules, and no rule of this workflow is called so."
    assert unused in plan["notes"]
    work.call([*work.azurebatch()[:3], *snakemake]).must_succeed()
    check(work, batch, plan)


def test_what_is_a_blob_already_does_not_go_up_again(work):
    work.write("Snakefile", SNAKEFILE)
    work.run("part/0.txt", "folder").must_succeed()
    work.run("part/1.txt").must_succeed()  # in.txt was too young to be remembered before
    uploads = planned(work, *arguments(work, "--forceall", "part/2.txt", "folder"))["uploads"]
    assert uploads["files"] + uploads["known_files"] == 3
    assert uploads["known_files"] >= 1
    assert uploads["source_files"] >= 1


@pytest.mark.long
def test_one_pool_that_is_there(work, batch):
    """It is asked what it is: slots, size, nodes."""
    container = models.BatchContainerConfiguration(type="dockerCompatible")
    image = models.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204")
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 22.04", container_configuration=container
    )
    own = "own-" + str(abs(hash(work.path)))[:10]
    batch.create_pool(
        models.BatchPoolCreateOptions(
            id=own, vm_size="Standard_D8s_v5", virtual_machine_configuration=machine, target_dedicated_nodes=1,
            task_slots_per_node=3,
        )
    )  # fmt: skip
    snakemake = arguments(work, *RUN, "--azurebatch-pool-id", own, "--set-threads", "part=9", "--set-resources",
                          "kept:azurebatch_lane=shell")  # fmt: skip
    plan = planned(work, *snakemake)
    rows = {row["rule"]: row for row in plan["rules"]}
    assert (rows["part"]["slots"], rows["part"]["slots_per_node"], rows["part"]["vm_size"]) == (3, 3, "Standard_D8s_v5")
    assert rows["kept"]["lane_why"] == "asked for"
    assert plan["pools"][0]["price_per_hour_at_most"] == pytest.approx(2.0)
    assert any("rule part needs 9 cores" in note for note in plan["notes"])
    unasked = tool(work, "plan", "--offline", "--json", "--", *snakemake)
    assert json.loads(unasked.stdout)["rules"][0]["vm_size"] == "Standard_D4s_v5"
    work.call([*work.azurebatch()[:3], *snakemake]).must_succeed()
    check(work, batch, plan)


def test_everything_that_is_refused_is_told_at_once(work):
    bad = """
rule all:
    input: "huge.txt", "wished.txt", "odd.txt", "/etc/made-by-a-workflow.txt", "unformatted.txt"
rule huge:
    output: "huge.txt"
    resources: mem_mb=10**9
    shell: "echo > {output}"
rule wished:
    output: "wished.txt"
    resources: azurebatch_lane="shell"
    run:
        pass
rule odd:
    output: "odd.txt"
    resources: azurebatch_staging="carrier pigeon"
    shell: "echo > {output}"
rule outside:
    output: "/etc/made-by-a-workflow.txt"
    shell: "echo > {output}"
rule unformatted:
    output: "unformatted.txt"
    shell: "echo {nothing} > {output}"
"""
    work.write("Snakefile", bad)
    work.write("pools.yaml", POOLS.replace("NAME", "never"))
    snakemake = arguments(work, "--azurebatch-pools", "pools.yaml", of_one_pool=False)
    plan = planned(work, *snakemake, status=1)
    text = "\n".join(plan["refused"])
    assert "rule huge needs 931322.6 GiB of memory" in text
    assert "rule wished: azurebatch_lane=shell is not possible: it has no shell command" in text
    assert "rule odd: resource azurebatch_staging is 'carrier pigeon'; it can be auto, stager, batch." in text
    assert "rule outside: '/etc/made-by-a-workflow.txt'" in text
    assert "rule unformatted: the shell command cannot be formatted" in text
    shown = tool(work, "plan", *snakemake, COLUMNS="40")
    assert shown.returncode == 1
    assert "This cannot run on Azure Batch as it is:" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines() if "/" not in line) <= 40
    flat = " ".join(shown.stdout.split())
    assert all(" ".join(problem.split()) in flat for problem in plan["refused"])


@pytest.mark.long
def test_checkpoints_and_nothing_to_do(work):
    work.write(
        "Snakefile",
        """
def parts(wildcards):
    return expand("b/{n}.txt", n=open(checkpoints.split.get().output[0]).read().split())
checkpoint split:
    output: "a.txt"
    shell: "echo 1 2 > {output}"
rule part:
    output: "b/{n}.txt"
    shell: "echo > {output}"
rule all:
    input: parts
    default_target: True
""",
    )
    snakemake = arguments(work)
    shown = tool(work, "plan", *snakemake)
    assert "Not known yet: jobs that come after checkpoint split." in shown.stdout
    assert "split: 1 job" in shown.stdout
    flat = " ".join(shown.stdout.split())
    assert "an hour of a dedicated Standard_D4s_v5 is 1; --unit-price says what that costs" in flat
    priced = tool(work, "plan", "--unit-price", "0.5", "--currency", "EUR", *snakemake)
    assert re.search(r"price +about 1 EUR per hour at most, 0.5 EUR", priced.stdout), priced.stdout
    work.run().must_succeed()
    assert tool(work, "plan", *snakemake).stdout == "Nothing to be done.\n"


def test_what_is_no_run_and_what_is_wrong(work):
    snakemake = arguments(work)
    refused(tool(work, "plan", *snakemake, "--unlock"), "A plan is for the arguments of a run: leave out --unlock.")
    assert (work.path / "in.txt").exists()
    broken = tool(work, "plan", "--executor", "azurebatch", "--jobs", "1", without=("BATCH_ACCOUNT_URL",))
    refused(broken, "no Batch account")
    as_json = tool(work, "plan", "--json", "--", *snakemake, "--azurebatch-lane", "fast")
    assert as_json.returncode == 1
    assert "--azurebatch-lane: 'fast' is not one of auto, shell, snakemake" in json.loads(as_json.stdout)["refused"][-1]
    (work.path / "Snakefile").write_text("rule all:\n  input: nothing\n")
    refused(tool(work, "plan", *snakemake), "nothing", "No plan: Snakemake could not build its jobs")
    helped = tool(work, "plan", "--help", COLUMNS="40")
    assert (helped.returncode, "Examples" in helped.stdout) == (0, True)
