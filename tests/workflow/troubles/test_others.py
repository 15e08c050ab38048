"""Somebody else interferes with a run; and what a run is asked to put up with."""

import pytest

from snakemake_executor_azurebatch.run.judge import Cause
from tests.workflow.troubles.lab import job, provokes


@provokes(Cause.CANCELLED, Cause.TASK_GONE)
def test_tasks_that_somebody_ends_or_deletes(lab):
    with lab.running() as run:
        run.submit([lab.waits_for_go(key) for key in ("ended", "deleted", "good")])
        for key in ("ended", "deleted", "good"):
            lab.start_of(key)
        lab.batch.terminate_task(lab.job_id, "ended")
        lab.batch.delete_task(lab.job_id, "deleted")
        lab.must_fail("ended", Cause.CANCELLED)
        lab.must_fail("deleted", Cause.TASK_GONE)
        lab.go()
        lab.must_succeed("good")
    assert lab.heard.count("Submitted again") == 0


@provokes(Cause.JOB_GONE)
@pytest.mark.parametrize("how", ["terminated", "deleted"])
def test_a_batch_job_that_somebody_ends_or_deletes(lab, how):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a"), lab.waits_for_go("b")])
        lab.start_of("a")
        if how == "deleted":
            lab.batch.begin_delete_job(lab.job_id, polling_interval=0.05)
        else:
            lab.batch.begin_terminate_job(lab.job_id, {"terminateReason": "Test"}, polling_interval=0.05)
        lab.heard.wait_for("a", "b")
        run.submit([job("later")])
        lab.must_fail("later", Cause.JOB_GONE)
    for key in ("a", "b"):
        text = lab.heard.ended[key] or ""
        assert Cause.JOB_GONE.value in text or Cause.CANCELLED.value in text, text
    assert lab.heard.count("All jobs are given up") == 1


def test_a_listener_that_raises_harms_nobody_else(lab):
    with lab.running() as run:
        lab.heard.ended["bad"] = "reported before"  # makes the report fail
        run.submit([job("bad"), job("good")])
        lab.must_succeed("good")
        lab.heard.wait(lambda: lab.heard.count("While task bad was reported") == 1)


def test_cancelling_twice_and_with_nothing_to_cancel(lab):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        assert run.cancel() == 1
        assert run.cancel() == 1
        lab.until(lambda: lab.batch.get_job(lab.job_id).state in ("terminating", "completed"))
    assert lab.heard.ended == {}
