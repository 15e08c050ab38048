"""A run of two hundred jobs through everything that can go wrong at once."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from snakemake_executor_azurebatch.report.model import report_of
from snakemake_executor_azurebatch.report.page import page
from snakemake_executor_azurebatch.run.access import TaskAccess
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.records import FILE, read_records
from snakemake_executor_azurebatch.run.session import Session
from snakemake_executor_azurebatch.staging.grants import RenewedGrant
from snakemake_executor_azurebatch.staging.sas import Access, make_access
from tests.workflow.browser import browser, show
from tests.workflow.troubles.lab import job, provokes

JOBS, LATE = 200, 3


def with_a_sas_that_expires(session: Session) -> Session:
    """Each ``extend`` of its access gives the next one: the first is good, the second over, all others good."""
    lifetimes_s = iter([3600, -60])

    def make() -> Access:
        lifetime_s = next(lifetimes_s, 3600)
        return make_access(
            session.store.container, lifetime_s, account_key=session.store.container.credential.account_key
        )

    return replace(session, access=TaskAccess(RenewedGrant(make), lambda: session.access.stager_url, is_in_job=False))


@provokes(Cause.DISK_FULL, Cause.ACCESS_EXPIRED)
def test_two_hundred_jobs_come_through_all_of_it(lab):
    keys = [f"j{number}" for number in range(JOBS - LATE)]
    late = [f"late{number}" for number in range(LATE)]
    with lab.running(with_a_sas_that_expires, dedicated_nodes=3, spot_nodes=3, infrastructure_retries=9) as run:
        lab.control.add_fault("latency", seconds=0.02)
        lab.control.add_fault("throttle", status=429, rate=0.05, seconds=0, seed=1)
        lab.control.add_fault("throttle", status=503, rate=0.05, seconds=0, seed=2)
        lab.control.add_fault("reset", rate=0.03, seed=3)
        run.submit([job(key) for key in keys])
        lab.heard.wait(lambda: len(lab.heard.ended) > 10)
        lab.control.add_fault("preempt", pool=lab.pool_id, count=3)
        first, second, third = [
            node["id"] for node in lab.control.nodes() if node["pool"] == lab.pool_id and node["id"].endswith("_d")
        ]
        lab.control.add_fault("kill", pool=lab.pool_id, node=first)
        lab.control.add_fault("unusable", pool=lab.pool_id, node=second)
        full = lab.control.add_fault("disk-full", pool=lab.pool_id, node=third)
        lab.heard.wait(lambda: lab.heard.count(Cause.DISK_FULL.value) > 0)
        lab.control.remove_fault(full["id"])
        run._session.access.extend()  # and so it is over
        run.submit([job(key) for key in late])
        lab.must_succeed(*keys, *late)
    explained_once(lab, late)
    report_is_right(lab)


def explained_once(lab, late: list[str]) -> None:
    """Each event is told, and none twice."""
    heard = lab.heard
    assert heard.count("is unusable; its tasks go to other nodes") == 1
    told = [text for text in heard.said if text.startswith(("Task ", "Node ", "Azure Batch had to start"))]
    assert len(set(told)) == len(told)
    for key in late:
        assert heard.count(f"Task {key}: {Cause.ACCESS_EXPIRED.value}") == 1
    outages = [text for text in heard.said if text.startswith("Azure Batch ")]
    began = sum("waiting for it" in text for text in outages)
    assert began - sum("answers again" in text for text in outages) in (0, 1), outages
    assert not heard.count("All jobs are given up")


def duration_s(seen) -> float:
    return (seen.end_time - seen.start_time).total_seconds()


def report_is_right(lab) -> None:
    """The page about it says what the service's own log says, and fits a phone and a large screen."""
    report = report_of(list(read_records(lab.workdir.path / ".snakemake/azurebatch" / FILE)), node_price=1.0)
    log = (lab.workdir.service.state_dir / "tasks.jsonl").read_text().splitlines()
    served = [line for line in map(json.loads, log) if line["job"] == lab.job_id and line["kind"] == "task"]
    last = {line["task"]: line for line in served}  # what was run before that came to nothing
    assert {task.task_id: task.node for task in report.tasks} == {name: line["node"] for name, line in last.items()}
    assert {node.node_id: len(node.tasks) for node in report.nodes} == Counter(line["node"] for line in last.values())
    took_s = {task.id: duration_s(task.execution_info) for task in lab.batch.list_tasks(lab.job_id)}
    assert {task.task_id: task.took_s for task in report.tasks} == pytest.approx(took_s, abs=0.002)  # ms are kept
    again = {task.task_id for task in report.tasks if not task.was_smooth}
    told = [re.match(r"Task (\S+): |Azure Batch had to start task (\S+) again", text) for text in lab.heard.said]
    assert again == {name for match in told if match for name in match.groups() if name}
    assert report.causes["ACCESS_EXPIRED"] >= LATE
    assert sum(report.causes.values()) == sum(len(task.tries) + task.requeues for task in report.tasks)
    made = page(report)
    assert len(made.encode()) < 1_000_000
    if browser() is None:
        return
    file = lab.workdir.write("run.html", made)
    for width_px in (400, 1400):
        shown = show(file, width_px, "tasks", "failed", "retried", "nodes")
        assert shown.needs_px <= shown.has_px <= width_px
        expected = (JOBS, 0, len(again), len(report.nodes))
        assert tuple(int(shown.texts[name]) for name in ("tasks", "failed", "retried", "nodes")) == expected
