"""Disabling, enabling, moving and forcing jobs; their quota; their special tasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import code_of, pool, running_service, task, values_of, wait_until

QUICK = {"polling_interval": 0.02}
#: azure-batch 15.1 cannot send this request without options, and does not export their class.
ENOUGH = m._models.BatchJobTerminateOptions(termination_reason="Enough")


def _job(job_id, pool_id=None, **options):
    return m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id or job_id), **options)


@pytest.mark.parametrize(("option", "state", "requeues"), [("requeue", "active", 1), ("terminate", "completed", 0)])
def test_disable_and_enable(bench, tmp_path, option, state, requeues):
    batch, name, mark = bench.batch, bench.id, tmp_path / "mark"
    bench.add("t", f"[ -e {mark} ] || {{ touch {mark}; exec sleep 600; }}")
    wait_until(mark.exists)
    etag = batch.get_job(name).etag
    batch.begin_disable_job(name, m._models.BatchJobDisableOptions(disable_tasks=option), **QUICK).result()
    job = batch.get_job(name)
    assert (job.state, job.previous_state) == (m.BatchJobState.DISABLED, m.BatchJobState.DISABLING)
    assert job.etag != etag
    found = batch.get_task(name, "t")
    assert (found.state.value, found.execution_info.requeue_count) == (state, requeues)
    bench.add("late")
    assert bench.state("late") == "active"
    batch.begin_enable_job(name, **QUICK).result()
    assert batch.get_job(name).state == m.BatchJobState.ACTIVE
    bench.wait_for("late")
    bench.wait_for("t")


def test_disable_can_wait(bench, tmp_path):
    gate = tmp_path / "gate"
    bench.add("t", f"until [ -e {gate} ]; do sleep 0.02; done")
    bench.wait_for("t", "running")
    poller = bench.batch.begin_disable_job(bench.id, m._models.BatchJobDisableOptions(disable_tasks="wait"), **QUICK)
    assert bench.batch.get_job(bench.id).state == m.BatchJobState.DISABLING
    gate.touch()
    poller.result()
    assert bench.batch.get_job(bench.id).state == m.BatchJobState.DISABLED
    assert bench.state("t") == "completed"


def test_only_a_disabled_job_can_be_enabled_or_moved(bench):
    batch, name = bench.batch, bench.id
    moved = m.BatchJobUpdateOptions(pool_info=m.BatchPoolInfo(pool_id=f"{name}-2"))
    batch.update_job(name, m.BatchJobUpdateOptions(pool_info=m.BatchPoolInfo(pool_id=name)))  # no move
    for change in (lambda: batch.begin_enable_job(name), lambda: batch.update_job(name, moved)):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == "OperationInvalidForCurrentState"
    batch.create_pool(pool(f"{name}-2"))
    batch.begin_disable_job(name, m._models.BatchJobDisableOptions(disable_tasks="requeue"), **QUICK).result()
    batch.update_job(name, moved)
    batch.begin_enable_job(name, **QUICK).result()
    bench.add("t")
    assert bench.wait_for("t").node_info.pool_id == f"{name}-2"
    assert batch.get_job(name).execution_info.pool_id == f"{name}-2"
    batch.begin_delete_pool(f"{name}-2", **QUICK).result()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/jobs/{}/terminate", "JobBeingTerminated"),
        ("DELETE", "/jobs/{}", "JobBeingDeleted"),
    ],
)
def test_a_job_that_ends_cannot_be_disabled_or_enabled(frozen, name, method, path, code):
    name = f"{name}-{code[8:]}"
    frozen.create_job(_job(name))
    frozen.send_request(HttpRequest(method, f"{path.format(name)}?api-version=2025-06-01"))
    for change in (
        lambda: frozen.begin_disable_job(name, m._models.BatchJobDisableOptions(disable_tasks="wait")),
        lambda: frozen.begin_enable_job(name),
        lambda: frozen.replace_job(name, m.BatchJob(pool_info=m.BatchPoolInfo(pool_id=name))),
    ):
        with pytest.raises(ResourceExistsError) as refused:
            change()
        assert code_of(refused) == code


def test_transitions_are_visible(frozen, name):
    frozen.create_job(_job(name))
    send = frozen.send_request
    send(HttpRequest("POST", f"/jobs/{name}/disable?api-version=2025-06-01", json={"disableTasks": "requeue"}))
    assert frozen.get_job(name).state == m.BatchJobState.DISABLING
    send(HttpRequest("POST", f"/jobs/{name}/enable?api-version=2025-06-01"))
    job = frozen.get_job(name)
    assert (job.state, job.previous_state) == (m.BatchJobState.ENABLING, m.BatchJobState.DISABLING)
    with pytest.raises(ResourceExistsError) as refused:
        frozen.begin_disable_job(name, m._models.BatchJobDisableOptions(disable_tasks="requeue"))
    assert code_of(refused) == "JobNotActive"


def test_disabling_needs_to_say_what_becomes_of_tasks(bench):
    path = f"/jobs/{bench.id}/disable?api-version=2025-06-01"
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.send_request(HttpRequest("POST", path, json={}))
    assert (refused.value.status_code, code_of(refused)) == (400, "MissingRequiredProperty")
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.send_request(HttpRequest("POST", path, json={"disableTasks": "forget"}))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")


def test_conditions_hold_for_every_change(bench):
    batch, name = bench.batch, bench.id
    stale = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
    for change in (
        lambda: batch.begin_disable_job(name, m._models.BatchJobDisableOptions(disable_tasks="wait"), **stale),
        lambda: batch.begin_enable_job(name, **stale),
        lambda: batch.begin_terminate_job(name, ENOUGH, **stale),
        lambda: batch.begin_delete_job(name, **stale),
        lambda: batch.replace_job(name, m.BatchJob(pool_info=m.BatchPoolInfo(pool_id=name)), **stale),
    ):
        with pytest.raises(ResourceModifiedError) as refused:
            change()
        assert (refused.value.status_code, code_of(refused)) == (412, "ConditionNotMet")
    assert batch.get_job(name).state == m.BatchJobState.ACTIVE


def test_force_does_not_wait_for_nodes(bench, special):
    job_id = special()
    stubborn = "trap : TERM; touch here; while :; do sleep 0.1; done"
    bench.batch.create_task(job_id, task("t", stubborn))
    wait_until(lambda: bench.batch.get_task(job_id, "t").state == m.BatchTaskState.RUNNING)
    bench.batch.begin_terminate_job(job_id, ENOUGH, force=True, **QUICK).result()
    assert bench.batch.get_job(job_id).state == m.BatchJobState.COMPLETED


def test_an_empty_job_may_end_at_once(batch, name):
    batch.create_job(_job(name, all_tasks_complete_mode="terminatejob"))
    assert batch.get_job(name).state == m.BatchJobState.ACTIVE
    wait_until(lambda: batch.get_job(name).state == m.BatchJobState.COMPLETED)
    assert batch.get_job(name).execution_info.termination_reason == "AllTasksComplete"
    batch.begin_delete_job(name, **QUICK).result()


def test_ending_with_the_last_task_cannot_be_turned_off(bench):
    batch, name = bench.batch, bench.id
    bench.add("t", required_slots=3)
    batch.update_job(name, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    with pytest.raises(HttpResponseError) as refused:
        batch.update_job(name, m.BatchJobUpdateOptions(all_tasks_complete_mode="noaction"))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
    assert values_of(refused)["PropertyName"] == "onAllTasksComplete"
    batch.replace_job(name, m.BatchJob(pool_info=m.BatchPoolInfo(pool_id=name)))
    assert batch.get_job(name).all_tasks_complete_mode == "terminatejob"


def test_preemption_by_other_jobs_is_not_emulated(batch, name):
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job(_job(name, allow_task_preemption=True))
    assert (refused.value.status_code, code_of(refused)) == (501, "NotEmulated")


def test_a_failed_task_can_end_its_job(bench, special):
    job_id = special(task_failure_mode="performexitoptionsjobaction")
    ends = m.ExitConditions(
        exit_codes=[m.ExitCodeMapping(code=3, exit_options=m.ExitOptions(job_action="terminate"))],
        default=m.ExitOptions(job_action="none"),
    )
    bench.batch.create_task(job_id, task("other", "exit 4", exit_conditions=ends))
    wait_until(lambda: bench.batch.get_task(job_id, "other").state == m.BatchTaskState.COMPLETED)
    assert bench.batch.get_job(job_id).state == m.BatchJobState.ACTIVE
    bench.batch.create_task(job_id, task("t", "exit 3", exit_conditions=ends))
    wait_until(lambda: bench.batch.get_job(job_id).state == m.BatchJobState.COMPLETED)
    assert bench.batch.get_job(job_id).execution_info.termination_reason == "TaskFailed"


def test_the_quota_of_active_jobs(tmp_path):
    with running_service(tmp_path, Timings(settle_s=0.03), max_active_jobs=2) as service, service.client() as batch:
        batch.create_job(_job("a"))
        specification = m.BatchJobSpecification(pool_info=m.BatchPoolInfo(pool_id="p"))
        later = m.BatchJobScheduleConfiguration(start_window=timedelta(minutes=1))
        schedule = m.BatchJobScheduleCreateOptions(id="s", schedule=later, job_specification=specification)
        batch.begin_terminate_job("a", ENOUGH, **QUICK).result()
        batch.create_job_schedule(schedule)  # with its job these are two
        with pytest.raises(ResourceExistsError) as refused:
            batch.create_job(_job("b"))
        assert code_of(refused) == "ActiveJobAndScheduleQuotaReached"
        sentence = "The active job and job schedule quota for the account has been reached."
        assert sentence in str(refused.value)
        batch.begin_delete_job_schedule("s", **QUICK).result()
        batch.create_job(_job("b"))


# -- automatic pools ------------------------------------------------------------------------------


def _auto_pool(**options):
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="Canonical", offer="ubuntu", sku="22_04-lts"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
    )
    spec = m.BatchPoolSpecification(
        vm_size="STANDARD_D2_v3", virtual_machine_configuration=machine, target_dedicated_nodes=1
    )
    options = {"pool_lifetime_option": "job", "pool": spec, **options}
    return m.BatchPoolInfo(auto_pool_specification=m.BatchAutoPoolSpecification(**options))


@pytest.mark.parametrize("keep", [False, True])
def test_an_automatic_pool_lives_as_long_as_its_job(batch, name, keep):
    batch.create_job(m.BatchJobCreateOptions(id=name, pool_info=_auto_pool(auto_pool_id_prefix="mine")))
    job = batch.get_job(name)
    pool_id = job.execution_info.pool_id
    assert pool_id.startswith("mine")
    assert len(pool_id) == 40
    shown = job.pool_info.auto_pool_specification
    assert (shown.keep_alive, shown.pool.vm_size, shown.pool.task_slots_per_node) == (False, "standard_d2_v3", 1)
    batch.create_task(name, task("t"))
    wait_until(lambda: batch.get_task(name, "t").state == m.BatchTaskState.COMPLETED)
    if keep:
        batch.update_job(name, m.BatchJobUpdateOptions(pool_info=_auto_pool(keep_alive=True)))
    batch.begin_delete_job(name, **QUICK).result()

    def pools():
        return list(batch.list_pools(filter=f"id eq '{pool_id}'"))

    if keep:
        assert pools()[0].state == m.BatchPoolState.ACTIVE
        batch.begin_delete_pool(pool_id, **QUICK).result()
    wait_until(lambda: not pools())


@pytest.mark.parametrize(
    ("info", "member"),
    [
        (_auto_pool(pool_lifetime_option="jobschedule"), "poolLifetimeOption"),
        (_auto_pool(auto_pool_id_prefix="x" * 21), "autoPoolIdPrefix"),
        (_auto_pool(pool=None), "autoPoolSpecification"),
        (m.BatchPoolInfo(), "poolInfo"),
        (m.BatchPoolInfo(pool_id="p", auto_pool_specification=_auto_pool().auto_pool_specification), "poolInfo"),
    ],
)
def test_automatic_pools_that_cannot_be(batch, name, info, member):
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job(m.BatchJobCreateOptions(id=name, pool_info=info))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
    assert values_of(refused)["PropertyName"] == member


def test_automatic_pools_of_schedules_are_not_emulated(batch, name):
    specification = m.BatchJobSpecification(pool_info=_auto_pool())
    schedule = m.BatchJobScheduleConfiguration()
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job_schedule(
            m.BatchJobScheduleCreateOptions(id=name, schedule=schedule, job_specification=specification)
        )
    assert (refused.value.status_code, code_of(refused)) == (501, "NotEmulated")
