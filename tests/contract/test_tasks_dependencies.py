"""Dependencies, exit conditions, reactivation, retention, subtasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.core.rest import HttpRequest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import Bench, code_of, pool, running_service, task, values_of, wait_until

QUICK = {"polling_interval": 0.02}
#: azure-batch 15.1 cannot send this request without options, and does not export their class.
ENOUGH = m._models.BatchJobTerminateOptions(termination_reason="Enough")


@pytest.fixture
def chain(batch, name):
    """A bench whose job uses dependencies and lets its tasks act on it."""
    batch.create_pool(pool(name, slots=2))
    batch.create_job(
        m.BatchJobCreateOptions(
            id=name,
            pool_info=m.BatchPoolInfo(pool_id=name),
            uses_task_dependencies=True,
            task_failure_mode="performexitoptionsjobaction",
        )
    )
    yield Bench(batch, name)
    batch.begin_delete_pool(name, **QUICK).result()
    batch.begin_delete_job(name, **QUICK).result()


def _after(*task_ids, ranges=()):
    found = [m.BatchTaskIdRange(start=start, end=end) for start, end in ranges]
    return m.BatchTaskDependencies(task_ids=list(task_ids), task_id_ranges=found)


def _exit(code, **options):
    return m.ExitConditions(exit_codes=[m.ExitCodeMapping(code=code, exit_options=m.ExitOptions(**options))])


def test_tasks_run_in_the_order_of_their_dependencies(chain, tmp_path):
    order = tmp_path / "order"
    chain.batch.create_tasks(
        chain.id,
        [
            task("last", f"echo last >> {order}", depends_on=_after("middle", ranges=[(1, 2)])),
            task("middle", f"echo middle >> {order}", depends_on=_after("1")),
            task("1", f"echo 1 >> {order}"),
            task("02", f"echo 02 >> {order}", depends_on=_after("MIDDLE")),
        ],
    )
    chain.wait_for("last")
    assert order.read_text().split() == ["1", "middle", "02", "last"]
    shown = chain.batch.get_task(chain.id, "last").as_dict()["dependsOn"]
    assert shown == {"taskIds": ["middle"], "taskIdRanges": [{"start": 1, "end": 2}]}


def test_a_failure_blocks_unless_it_is_said_to_satisfy(chain):
    chain.add("bad", "exit 3", exit_conditions=_exit(3, job_action="none"))
    chain.add("fine", "exit 4", exit_conditions=_exit(4, job_action="none", dependency_action="satisfy"))
    chain.add("blocked", depends_on=_after("bad"))
    chain.add("free", depends_on=_after("fine"))
    chain.wait_for("bad")
    assert chain.wait_for("free").execution_info.exit_code == 0
    assert chain.state("blocked") == "active"


def test_a_task_that_depends_on_itself_never_runs(chain):
    chain.add("a", depends_on=_after("a"))
    chain.add("b")
    chain.wait_for("b")
    assert chain.state("a") == "active"


def test_the_job_must_use_dependencies(bench):
    with pytest.raises(HttpResponseError) as refused:
        bench.add("t", depends_on=_after("a"))
    assert (refused.value.status_code, code_of(refused)) == (400, "TaskDependenciesNotSpecifiedOnJob")
    bench.add("t", depends_on=_after())  # asks for nothing


@pytest.mark.parametrize(
    ("depends_on", "code"),
    [
        (_after(*(f"{number:064}" for number in range(1001))), "TaskDependencyListTooLong"),
        (_after(ranges=[(10**8, 10**8 + 1)] * 4000), "TaskDependencyRangesTooLong"),
        (_after(ranges=[(3, 2)]), "InvalidPropertyValue"),
    ],
)
def test_limits_of_dependencies(chain, depends_on, code):
    with pytest.raises(HttpResponseError) as refused:
        chain.add("t", depends_on=depends_on)
    assert (refused.value.status_code, code_of(refused)) == (400, code)


@pytest.mark.parametrize(
    ("conditions", "member"),
    [
        (_exit(1, job_action="terminate"), "jobAction"),
        (m.ExitConditions(default=m.ExitOptions(job_action="none")), "jobAction"),
        (
            m.ExitConditions(
                exit_code_ranges=[m.ExitCodeRangeMapping(start=5, end=4, exit_options=m.ExitOptions())],
            ),
            "exitCodeRanges",
        ),
    ],
)
def test_exit_conditions_that_the_job_does_not_allow(bench, conditions, member):
    with pytest.raises(HttpResponseError) as refused:
        bench.add("t", exit_conditions=conditions)
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
    assert values_of(refused)["PropertyName"] == member


def test_a_missing_resource_file_can_end_the_job(chain):
    missing = m.ResourceFile(http_url="http://127.0.0.1:9/nothing", file_path="x")
    conditions = m.ExitConditions(pre_processing_error=m.ExitOptions(job_action="disable"))
    chain.add("t", resource_files=[missing], exit_conditions=conditions)
    wait_until(lambda: chain.batch.get_job(chain.id).state == m.BatchJobState.DISABLED)
    info = chain.batch.get_task(chain.id, "t").execution_info
    assert (info.exit_code, info.failure_info.code) == (None, "BlobDownloadMiscError")


def test_failures_have_their_categories(bench):
    bench.batch.create_task(bench.id, m.BatchTaskCreateOptions(id="t", command_line="/no/such/program"))
    failure = bench.wait_for("t").execution_info.failure_info
    assert (failure.category.value, failure.code) == ("usererror", "CommandProgramNotFound")


def test_reactivate(bench):
    bench.add(
        "t", "[ -e again ] || { touch again; exit 3; }", constraints=m.BatchTaskConstraints(max_task_retry_count=0)
    )
    bench.wait_for("t")
    seen = []
    bench.batch.reactivate_task(bench.id, "t", raw_response_hook=seen.append)
    headers = seen[0].http_response.headers
    assert (seen[0].http_response.status_code, "DataServiceId" in headers) == (204, False)
    assert headers["ETag"] == bench.batch.get_task(bench.id, "t").etag
    done = bench.wait_for("t")
    assert (done.execution_info.exit_code, done.execution_info.retry_count) == (0, 0)


def test_reactivating_shows_a_fresh_task(bench):
    bench.add("t", required_slots=3)
    bench.batch.terminate_task(bench.id, "t")
    bench.batch.reactivate_task(bench.id, "t")  # it never ran
    shown = bench.batch.get_task(bench.id, "t").as_dict()
    assert (shown["state"], shown["previousState"]) == ("active", "completed")
    assert shown["executionInfo"] == {"retryCount": 0, "requeueCount": 0}


def test_what_cannot_be_reactivated(bench):
    bench.add("good")
    bench.add("waiting", required_slots=3)
    bench.wait_for("good")
    cases = {
        "good": ("TaskSucceeded", "The specified task has already completed successfully."),
        "waiting": ("TaskNotCompleted", "The specified task has not completed."),
    }
    for task_id, (code, sentence) in cases.items():
        with pytest.raises(ResourceExistsError) as refused:
            bench.batch.reactivate_task(bench.id, task_id)
        assert f"({code}) {sentence}" in str(refused.value)
    bench.add("bad", "exit 1")
    bench.wait_for("bad")
    bench.batch.begin_terminate_job(bench.id, ENOUGH, **QUICK).result()
    with pytest.raises(ResourceExistsError) as refused:
        bench.batch.reactivate_task(bench.id, "bad")
    assert code_of(refused) == "JobCompleted"


def test_conditions_hold_for_changes_of_tasks(bench):
    bench.add("t", required_slots=3)
    stale = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
    found = bench.batch.get_task(bench.id, "t")
    for change in (
        lambda: bench.batch.reactivate_task(bench.id, "t", **stale),
        lambda: bench.batch.terminate_task(bench.id, "t", **stale),
        lambda: bench.batch.delete_task(bench.id, "t", **stale),
        lambda: bench.batch.replace_task(bench.id, "t", found, **stale),
    ):
        with pytest.raises(ResourceModifiedError) as refused:
            change()
        assert code_of(refused) == "ConditionNotMet"


def test_put_without_constraints_restores_the_defaults(bench):
    bench.add("t", required_slots=3, constraints=m.BatchTaskConstraints(max_task_retry_count=4))
    body = {"commandLine": "true"}
    bench.batch.send_request(HttpRequest("PUT", f"/jobs/{bench.id}/tasks/t?api-version=2025-06-01", json=body))
    shown = bench.batch.get_task(bench.id, "t").as_dict()
    assert shown["constraints"]["maxTaskRetryCount"] == 0
    assert shown["commandLine"] != "true"  # only the constraints count


@pytest.mark.parametrize("count", [-2, -100])
def test_retries_have_a_lowest_value(bench, count):
    with pytest.raises(HttpResponseError) as refused:
        bench.add("t", constraints=m.BatchTaskConstraints(max_task_retry_count=count))
    assert values_of(refused)["PropertyName"] == "maxTaskRetryCount"


def test_a_plain_task_has_no_subtasks(bench):
    bench.add("t")
    assert list(bench.batch.list_subtasks(bench.id, "t")) == []


def test_files_are_removed_when_their_time_is_over(tmp_path):
    with running_service(tmp_path, Timings(boot_s=0.05, settle_s=0.03)) as service, service.client() as batch:
        batch.create_pool(pool("p"))
        batch.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        short = m.BatchTaskConstraints(retention_time=timedelta(hours=1))
        batch.create_tasks("j", [task("short", "echo x", constraints=short), task("long", "echo y")])
        bench = Bench(batch, "j")
        done = bench.wait_for("short")
        bench.wait_for("long")
        directory = service.config.nodes_dir / "p" / done.node_info.node_id / done.node_info.task_root_directory
        assert directory.exists()
        advance = {"advanceSeconds": 3700}
        batch.send_request(HttpRequest("POST", "/_admin/clock?api-version=2025-06-01", json=advance))
        wait_until(lambda: not directory.exists())
        with pytest.raises(ResourceExistsError) as refused:
            list(batch.list_task_files("j", "short"))
        assert code_of(refused) == "TaskFilesCleanedup"
        assert b"".join(batch.download_task_file("j", "long", "stdout.txt")) == b"y\n"
