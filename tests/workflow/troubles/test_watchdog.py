"""Trouble with nodes and pools that the plugin acts on: each provoked on the local service, each told once."""

from functools import partial

import pytest
from azure.batch import models as m

from snakemake_executor_azurebatch.pools.config import read_pools
from snakemake_executor_azurebatch.pools.lease import Terms
from snakemake_executor_azurebatch.run import pool_watch, session
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.lease_of_run import Lessee
from tests.contract.conftest import pool, wait_until
from tests.workflow.troubles.lab import job, provokes

#: It can be given to a pool, and fails when it is looked at: there are no samples of a whole week.
BROKEN = "$TargetDedicatedNodes = avg($PendingTasks.GetSample(TimeInterval_Week, 100));"
OURS = [m.BatchMetadataItem(name="created-by", value="snakemake-executor-plugin-azurebatch")]


def node_ids(lab) -> set[str]:
    return {node["id"] for node in lab.control.nodes() if node["pool"] == lab.pool_id}


@pytest.fixture
def soon(monkeypatch):
    """Pools are looked at, and leases kept in step, without pauses of half a minute.

    The service, which takes one change of a pool in that time, has its clock put forward where that matters.
    """
    monkeypatch.setattr(session, "Lessee", partial(Lessee, terms=Terms(pause_s=1.0)))
    monkeypatch.setattr(pool_watch, "FIRST_S", 0.5)


@pytest.mark.usefixtures("soon")
def test_an_unusable_node_of_a_leased_pool_is_replaced(lab):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        (old,) = node_ids(lab)
        lab.mark("a").unlink()
        lab.control.clock(advanceSeconds=60)  # a pool takes one change in half a minute
        lab.control.add_fault("unusable", pool=lab.pool_id)
        lab.until(lambda: old not in node_ids(lab))
        lab.start_of("a")
        lab.go()
        lab.must_succeed("a")
    assert lab.heard.count(f"Node {old} is unusable; its tasks go to other nodes, and it is replaced") == 1
    assert lab.heard.count("Nothing can run") <= 1


@pytest.mark.usefixtures("soon")
def test_where_a_node_cannot_be_removed_another_one_is_asked_for(lab):
    lab.control.add_fault("refuse", route="/pools/{poolId}/removenodes")
    with lab.running(dedicated_nodes=2, task_slots_per_node=1) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        (old,) = node_ids(lab)
        lab.mark("a").unlink()
        lab.control.clock(advanceSeconds=60)
        lab.control.add_fault("unusable", pool=lab.pool_id)
        lab.start_of("a")  # on another node
        assert old in node_ids(lab)
        assert len(node_ids(lab)) == 2
        lab.go()
        lab.must_succeed("a")
    assert lab.heard.count(f"Node {old} is unusable; its tasks go to other nodes.") == 1
    (told,) = [text for text in lab.heard.said if "are not replaced" in text]
    assert told.startswith(f"Broken nodes of pool {lab.pool_id} are not replaced: removing broken nodes of pool ")
    assert "OperationInvalidForCurrentState (HTTP 409)" in told
    assert not any("waiting for it" in text or "answers again" in text for text in lab.heard.said)


@provokes(Cause.UNUSABLE)
def test_where_no_node_is_left_that_could_be_removed_the_run_ends(lab):
    lab.control.add_fault("refuse", route="/pools/{poolId}/removenodes")
    with lab.running(dedicated_nodes=2, task_slots_per_node=1, pool_patience=0.05) as run:
        run.submit([lab.waits_for_go("a"), lab.waits_for_go("b")])
        lab.start_of("a")
        lab.start_of("b")
        lab.control.add_fault("unusable", pool=lab.pool_id, count=2)
        lab.must_fail("a", Cause.UNUSABLE)
        lab.must_fail("b", Cause.UNUSABLE)
    assert lab.heard.count("are not replaced: ") == 1
    assert lab.heard.count("Nothing can run: ") == 1
    assert not any("waiting for it" in text or "answers again" in text for text in lab.heard.said)


def start_task(lab, broken_times: int) -> m.BatchStartTask:
    """Fails on so many nodes, and then no more."""
    here = lab.workdir.path.parent
    tries = "; ".join(f"if mkdir {here}/try{number}; then exit 3; fi" for number in range(broken_times))
    return m.BatchStartTask(command_line=f"/bin/sh -c 'echo no disk to format >&2; {tries}'", wait_for_success=True)


def test_a_node_whose_start_task_fails_is_replaced_and_its_stderr_is_shown(lab):
    """In a fixed pool, which has as many nodes as before in the end."""
    lab.batch.create_pool(pool(lab.pool_id, nodes=1, slots=4, start_task=start_task(lab, 1), metadata=OURS))
    with lab.running() as run:
        run.submit([job("a")])
        lab.must_succeed("a")
    (told,) = [text for text in lab.heard.said if "start task has failed" in text]
    assert "cannot be used: its start task has failed; it is replaced." in told
    assert "  | no disk to format" in told
    assert lab.batch.get_pool(lab.pool_id).target_dedicated_nodes == 1


@provokes(Cause.START_TASK)
def test_nodes_that_always_fail_are_replaced_a_few_times_and_then_the_run_ends(lab):
    lab.batch.create_pool(pool(lab.pool_id, nodes=1, slots=4, start_task=start_task(lab, 99), metadata=OURS))
    with lab.running(pool_patience=0.1) as run:
        run.submit([job("a")])
        lab.must_fail("a", Cause.START_TASK)
    assert lab.heard.count("; it is replaced.") == 3
    assert lab.heard.count("they are not replaced any more") == 1


def test_nodes_that_are_taken_away_together_are_told_together(lab):
    with lab.running(dedicated_nodes=0, spot_nodes=5, task_slots_per_node=1) as run:
        keys = [f"a{number}" for number in range(5)]
        run.submit([lab.waits_for_go(key) for key in keys])
        for key in keys:
            lab.start_of(key)
        lab.control.add_fault("allocation-failure", pool=lab.pool_id, limit=0)  # and none come back
        lab.control.add_fault("preempt", pool=lab.pool_id, count=5)
        lab.heard.wait(lambda: lab.heard.count("were taken away by Azure (preempted)") == 1)
        lab.control.clear_faults()
        lab.go()
        lab.must_succeed(*keys)
    (told,) = [text for text in lab.heard.said if "(preempted)" in text]
    assert told.startswith("5 of 5 nodes were taken away by Azure (preempted); their tasks go to other nodes: tvmps_")
    assert told.endswith(" and 2 more.")


@pytest.mark.usefixtures("soon")
def test_a_quota_that_leaves_a_pool_short_is_told_once_while_the_rest_runs(lab):
    lab.control.add_fault("quota", pool=lab.pool_id, limit=1)
    with lab.running(dedicated_nodes=3, task_slots_per_node=1) as run:
        run.submit([lab.waits_for_go(key) for key in ("a", "b", "c")])
        lab.heard.wait(lambda: lab.heard.count("and gets no more: AccountCoreQuotaReached") == 1)
        lab.go()
        lab.must_succeed("a", "b", "c")
    assert lab.heard.count("has 1 nodes where jobs could use 3, and gets no more: AccountCoreQuotaReached") == 1
    assert lab.heard.count("Nothing can run") == 0


def test_what_an_earlier_resize_has_met_is_not_told_again(lab):
    lab.control.add_fault("quota", pool=lab.pool_id, limit=0)
    with lab.running(pool_patience=0.02) as run:
        run.submit([job("a")])
        lab.must_fail("a", Cause.QUOTA)
    lab.heard.said.clear()
    lab.control.clear_faults()
    lab.control.clock(advanceSeconds=60)
    with lab.running() as run:
        run.submit([job("b")])
        lab.must_succeed("b")
    assert not any("Quota" in text for text in lab.heard.said)


@provokes(Cause.SCALING)
def test_a_formula_of_the_users_own_that_fails_ends_the_run(lab):
    options = pool(lab.pool_id, slots=4)
    options.target_dedicated_nodes = None
    options.enable_auto_scale, options.auto_scale_formula = True, BROKEN
    lab.batch.create_pool(options)
    with lab.running(pool_patience=0.05) as run:
        run.submit([job("a")])
        lab.must_fail("a", Cause.SCALING)
    assert lab.heard.count("Nothing can run: ") == 1
    assert lab.batch.get_pool(lab.pool_id).auto_scale_formula == BROKEN


@pytest.mark.usefixtures("soon")
def test_a_formula_that_fails_is_written_anew(lab):
    """The pool has all the nodes that it may have: nothing but the failure is a reason to write its formula."""
    with lab.running(dedicated_nodes=1, task_slots_per_node=1) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.control.clock(advanceSeconds=60)
        wait_until(lambda: lab.batch.get_pool(lab.pool_id).allocation_state == "steady")
        lab.batch.enable_pool_auto_scale(
            lab.pool_id,
            m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=BROKEN, auto_scale_evaluation_interval="PT5M"),
        )
        assert lab.batch.get_pool(lab.pool_id).auto_scale_run.error is not None
        run.submit([job("b")])
        lab.heard.wait(lambda: lab.heard.count("The autoscale formula of pool") == 1)
        lab.control.clock(advanceSeconds=60)
        lab.until(lambda: lab.batch.get_pool(lab.pool_id).auto_scale_run.error is None)
        lab.go()
        lab.must_succeed("a", "b")
    assert lab.heard.count("It is written anew.") == 1


POOLS = """
pools:
  - name: NAME
    vm_size: Standard_D2ds_v5
    next_vm_sizes: [Standard_D4ds_v5]
    nodes: {dedicated: 2}
"""
SNAKEFILE = """
rule all:
    input: expand("{n}.txt", n=range(4))

rule one:
    output: "{n}.txt"
    shell: "echo $AZ_BATCH_POOL_ID > {output}"
"""


@pytest.mark.parametrize("fault", ["allocation-failure"])
def test_jobs_go_to_the_next_vm_size_where_azure_has_none_of_the_first(lab, fault):
    """With real snakemake: the Batch job moves, and its waiting tasks with it."""
    name = f"t{abs(hash(lab.pool_id)) % 10**8}"
    workdir = lab.workdir
    workdir.write("pools.yaml", POOLS.replace("NAME", name))
    workdir.write("Snakefile", SNAKEFILE)
    first = read_pools(workdir.path / "pools.yaml", {}).pools[0]
    lab.control.add_fault(fault, pool=first.pool_id, limit=0)
    command = workdir.azurebatch("--azurebatch-pools", "pools.yaml")
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    text = workdir.call(command).must_succeed().text
    lab.control.clear_faults()
    (second,) = [p for p in lab.batch.list_pools() if str(p.id).startswith(f"smk-{name}-") and p.id != first.pool_id]
    assert second.vm_size.lower() == "standard_d4ds_v5"
    assert second.task_slots_per_node == 2
    assert {workdir.read(f"{n}.txt").strip() for n in range(4)} == {second.id}
    assert text.count(f"Jobs of pool {first.pool_id} go to pool {second.id}, of another VM size.") == 1
    assert "AllocationFailed" in text
