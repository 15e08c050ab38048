"""Pools on which nothing can run, provoked on a local service that fails on purpose."""

import pytest
from azure.batch import models as m

from snakemake_executor_azurebatch.run.judge import Cause
from tests.contract.conftest import pool
from tests.workflow.troubles.lab import PATIENCE_S, job, provokes


@provokes(Cause.ALLOCATION, Cause.QUOTA, Cause.POOL_GONE)
@pytest.mark.parametrize(
    ("kind", "cause"), [("allocation-failure", Cause.ALLOCATION), ("quota", Cause.QUOTA), ("none", Cause.POOL_GONE)]
)
def test_nodes_that_cannot_be_had_end_the_run(lab, kind, cause):
    if kind != "none":
        lab.control.add_fault(kind, pool=lab.pool_id, limit=0)
    with lab.running(pool_patience=0.05, dedicated_nodes=int(kind != "none")) as run:
        run.submit([job("a"), job("b")])
        lab.must_fail("a", cause)
        lab.must_fail("b", cause)
        run.submit([job("later")])  # no more waiting: it is known by now
        lab.must_fail("later", cause)
    assert lab.heard.count("Nothing can run: ") == 1
    assert lab.heard.count("All jobs are given up") == 1


@provokes(Cause.UNUSABLE)
def test_nodes_that_are_all_broken_end_the_run(lab):
    """In a pool of the user's own, whose nodes are not the plugin's business."""
    lab.batch.create_pool(pool(lab.pool_id, slots=4))
    with lab.running(pool_patience=0.05) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.control.add_fault("unusable", pool=lab.pool_id)
        lab.must_fail("a", Cause.UNUSABLE)
    assert lab.heard.count("is unusable; its tasks go to other nodes") == 1
    assert lab.heard.count("Nothing can run: ") == 1


@provokes(Cause.START_TASK)
def test_a_start_task_that_fails_ends_the_run(lab):
    lab.control.add_fault("start-task-failure", pool=lab.pool_id)
    start_task = m.BatchStartTask(command_line="true", wait_for_success=True)
    lab.batch.create_pool(pool(lab.pool_id, nodes=2, start_task=start_task))
    with lab.running(pool_patience=0.05) as run:
        run.submit([job("a")])
        lab.must_fail("a", Cause.START_TASK)
    assert lab.heard.count("start task has failed") in (1, 2)  # nodes that are seen together are told together
    assert lab.heard.count("replaced") == 0
    assert lab.heard.count("Nothing can run: ") == 1


@provokes(Cause.POOL_GONE)
def test_a_pool_that_is_deleted_ends_the_run(lab):
    with lab.running(pool_patience=0.02) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.batch.begin_delete_pool(lab.pool_id, polling_interval=0.05).wait(PATIENCE_S)
        lab.must_fail("a", Cause.POOL_GONE)
