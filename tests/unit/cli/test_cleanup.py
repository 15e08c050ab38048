"""What may be removed, and what not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from snakemake_executor_azurebatch.cli.cleanup import Mine, removable
from snakemake_executor_azurebatch.cli.logs import Match, matching
from snakemake_executor_azurebatch.pools.formula import Line
from snakemake_executor_azurebatch.run.inventory import FoundJob, FoundPool

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OLD = NOW - timedelta(hours=2)
JOB = FoundJob("j1", "completed", "p1", OLD, "/w", "mine", is_ours=True)
POOL = FoundPool("p1", "active", OLD, "/w", "mine", 2)


def names(jobs, pools, before=NOW):
    ended, unused = removable(jobs, pools, Mine("mine", before), NOW)
    return [job.job_id for job in ended], [pool.pool_id for pool in unused]


def test_what_has_ended_goes():
    assert names([JOB], [POOL]) == (["j1"], ["p1"])


def test_what_is_young_stays():
    assert names([JOB], [POOL], OLD - timedelta(seconds=1)) == ([], [])


def test_what_is_not_ours_stays():
    strange = [replace(JOB, is_ours=False), replace(JOB, workdir_id="other")]
    assert names(strange, [replace(POOL, workdir_id="other")]) == ([], [])


def test_nothing_goes_while_a_run_may_live():
    for state in ("active", "terminating", "disabled", "enabling"):
        assert names([JOB, replace(JOB, job_id="j2", state=state)], [POOL]) == ([], [])


def test_a_pool_that_somebody_uses_stays():
    other = replace(JOB, job_id="j2", state="active", workdir_id="", is_ours=False)
    assert names([JOB, other], [POOL, replace(POOL, pool_id="p2")]) == (["j1"], ["p2"])


def test_a_pool_that_a_run_leases_stays_though_it_has_no_batch_job_yet():
    leased = replace(POOL, lines=(Line("a1", NOW + timedelta(seconds=1), 1, 1), Line("b2", OLD, 1, 1)))
    assert names([JOB], [leased]) == (["j1"], [])
    assert names([JOB], [replace(POOL, lines=(Line("a1", NOW, 1, 1),))]) == (["j1"], ["p1"])


def test_what_is_being_deleted_already_is_left_alone():
    assert names([replace(JOB, state="deleting")], [replace(POOL, state="deleting")]) == ([], [])


def test_names_of_tasks():
    tasks = [Match(f"{rule}-{n}-ff", rule, "j", "succeeded") for rule in ("align", "align-all") for n in (1, 2)]
    running = Match("align-3-ff", "", "j", "running")
    assert [m.task for m in matching("align-1-ff", tasks)] == ["align-1-ff"]
    assert [m.task for m in matching("align", [*tasks, running])] == ["align-1-ff", "align-2-ff", "align-3-ff"]
    assert [m.task for m in matching("all-2", tasks)] == ["align-all-2-ff"]
    assert matching("x", tasks) == []
