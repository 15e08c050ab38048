"""A task that waits for a node longer than its access to blob storage lasts: submitted again, with a new access."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import snakemake

from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import Product
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.run.access import TaskAccess
from snakemake_executor_azurebatch.run.records import read_records
from snakemake_executor_azurebatch.run.reporting import Reports
from snakemake_executor_azurebatch.run.run import Run
from snakemake_executor_azurebatch.run.session import Place, Session, open_session
from snakemake_executor_azurebatch.settings import ExecutorSettings
from snakemake_executor_azurebatch.staging.grants import RenewedGrant
from snakemake_executor_azurebatch.staging.sas import Access, make_access

JOB = JobRequest("late", "late", threads=1, runtime_s=None, script="echo done > out.txt", outputs=(Product("out.txt"),))
PATIENCE_S = 300
RETRIES = 2


@dataclass
class Heard:
    """What a run reports."""

    said: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def failed(self, _key: str, text: str) -> None:
        self.failures.append(text)
        self.done.set()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def run(workdir, service, heard, monkeypatch) -> Iterator[Callable[..., None]]:
    """Runs JOB, whose tasks get access with these lifetimes in seconds, one after the other."""
    monkeypatch.chdir(workdir.path)
    settings = ExecutorSettings(
        account_url=service.batch_url,
        pool_id="late-access",
        task_slots_per_node=1,
        poll_interval=0.3,
        infrastructure_retries=RETRIES,
    )
    options = read_options(settings, workdir.variables())
    place = Place(workdir.path, workdir.path / ".snakemake/azurebatch", image="", run_id="run")

    def start(*lifetimes_s: float) -> None:
        session = open_session(options, place, heard.said.append)
        session = replace(session, access=access_lasting(session, options.storage.key, lifetimes_s))
        reports = Reports(lambda _: None, lambda _: heard.done.set(), heard.failed, lambda _: None)
        run = Run(session, place, snakemake.__version__, reports, heard.said.append)
        try:
            run.submit([JOB])
            assert heard.done.wait(PATIENCE_S)
        finally:
            run.close()

    return start


def access_lasting(session: Session, key: str, lifetimes_s: tuple[float, ...]) -> TaskAccess:
    rest = iter((3600, *lifetimes_s))

    def make() -> Access:
        return make_access(session.store.container, next(rest), account_key=key)

    access = TaskAccess(RenewedGrant(make), lambda: session.access.stager_url)
    access.extend()  # the first one is that of the Batch job, which tasks have without being given it
    return access


def too_late(heard: Heard) -> int:
    return sum("its access to blob storage had ended" in line and "Submitted again" in line for line in heard.said)


def test_a_late_task_gets_a_new_access(run, workdir, heard):
    run(-60, 3600)

    assert heard.failures == []
    assert workdir.read("out.txt") == "done\n"
    assert too_late(heard) == 1
    [row] = read_records(workdir.path / ".snakemake/azurebatch/tasks.jsonl")
    assert row["outcome"] == "succeeded"
    assert [one["cause"] for one in row["tries"]] == ["ACCESS_EXPIRED"]


def test_not_for_ever(run, workdir, heard):
    run(*([-60] * (RETRIES + 1)))

    [failure] = heard.failures
    assert failure.count("its access to blob storage had ended when it started") == 1 + RETRIES
    assert too_late(heard) == RETRIES
    assert not (workdir.path / "out.txt").exists()
