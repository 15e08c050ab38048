"""A run without Snakemake on a local service that fails on purpose, and what it says and reports."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import snakemake
from azure.batch import BatchClient

from snakemake_executor_azurebatch.emulator.control import Control
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import Product
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.run.explain import ADVICE
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.moving import ToDedicated
from snakemake_executor_azurebatch.run.records import FILE, read_records
from snakemake_executor_azurebatch.run.reporting import Reports
from snakemake_executor_azurebatch.run.run import Run
from snakemake_executor_azurebatch.run.session import Place, Session, open_session
from snakemake_executor_azurebatch.run.summary import Part
from snakemake_executor_azurebatch.settings import ExecutorSettings
from tests.workflow.conftest import Workdir

Test = TypeVar("Test", bound=Callable[..., None])

#: For what comes for sure; only a broken plugin makes a test wait so long.
PATIENCE_S = 240.0


def provokes(*causes: Cause) -> Callable[[Test], Test]:
    """Promise that a test makes jobs fail, or be submitted again, for one of these causes. ``lab`` sees to that."""

    def promise(test: Test) -> Test:
        test.provokes = frozenset(causes)
        return test

    return promise


def job(key: str, script: str = "echo done > {key}.txt", **options: object) -> JobRequest:
    """A job that makes one file."""
    made = Product(f"{key}.txt")
    return JobRequest(
        key, "rule", threads=1, script=script.replace("{key}", key), outputs=(made,), **{"runtime_s": None, **options}
    )


@dataclass
class Heard:
    """What a run has said and reported."""

    said: list[str] = field(default_factory=list)
    ended: dict[str, str | None] = field(default_factory=dict)  #: key -> None, or why it failed
    news: threading.Condition = field(default_factory=threading.Condition)

    def say(self, text: str) -> None:
        with self.news:
            self.said.append(text)
            self.news.notify_all()

    def end(self, key: str, text: str | None = None) -> None:
        with self.news:
            assert key not in self.ended, f"{key} was reported twice"
            self.ended[key] = text
            self.news.notify_all()

    def wait(self, holds: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(holds, PATIENCE_S), (self.said, self.ended)

    def wait_for(self, *keys: str) -> None:
        """Until these jobs were reported."""
        self.wait(lambda: set(keys) <= self.ended.keys())

    def count(self, words: str) -> int:
        """How often something was said."""
        return sum(words in text for text in self.said)


@dataclass
class Lab:
    """A workdir on a service that fails on purpose, with a pool of its own."""

    workdir: Workdir
    control: Control
    batch: BatchClient
    pool_id: str
    heard: Heard = field(default_factory=Heard)
    job_id: str = ""
    run: Run | None = None
    failed_for: set[Cause] = field(default_factory=set)
    used: list[Part] = field(default_factory=list)  #: of each run that has ended

    @contextmanager
    def running(
        self,
        adapt: Callable[[Session], Session] = lambda session: session,
        to_dedicated: ToDedicated | None = None,
        **settings: object,
    ) -> Iterator[Run]:
        """A run without Snakemake; ``adapt`` may change what it has open."""
        given = {"dedicated_nodes": 1, "task_slots_per_node": 4, "poll_interval": 0.1, **settings}
        settings_ = ExecutorSettings(account_url=self.workdir.service.batch_url, pool_id=self.pool_id, **given)
        options = read_options(settings_, self.workdir.variables())
        place = Place(self.workdir.path, self.workdir.path / ".snakemake/azurebatch", image="", run_id="run")
        session = adapt(open_session(options, place, self.heard.say))
        self.job_id = session.job.job_id
        reports = Reports(lambda _: None, self.heard.end, self.heard.end, lambda _: None, self.used.append)
        self.run = Run(session, place, snakemake.__version__, reports, self.heard.say, to_dedicated)
        try:
            yield self.run
        finally:
            self.control.clear_faults()
            self.run.close()

    def start_of(self, key: str) -> None:
        """Wait until a task of ``waits_for_go`` runs."""
        self.until(lambda: self.mark(key).exists())

    def mark(self, key: str) -> Path:
        return self.workdir.path.parent / f"{key}.started"

    def waits_for_go(self, key: str) -> JobRequest:
        """A job that ends well once there is a file ``go``."""
        go = self.workdir.path.parent / "go"
        script = f"touch {self.mark(key)}; until test -e {go}; do sleep 0.1; done; echo done > {key}.txt"
        return job(key, script)

    def go(self) -> None:
        (self.workdir.path.parent / "go").touch()

    def until(self, holds: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < give_up, (self.heard.said, self.heard.ended)
            time.sleep(0.05)

    def must_fail(self, key: str, cause: Cause) -> str:
        """The words about a job that has failed for this cause."""
        self.heard.wait_for(key)
        text = self.heard.ended[key] or ""
        assert cause.value in text, (text, self.heard.said)
        assert ADVICE[cause] in text
        self.failed_for.add(cause)
        return text

    def causes_seen(self) -> set[Cause]:
        """Why jobs failed, or were submitted again: as they told, and as the records say."""
        file, seen = self.workdir.path / ".snakemake/azurebatch" / FILE, set(self.failed_for)
        for row in read_records(file) if file.exists() else ():
            seen |= {Cause[name] for name in (row["cause"], *(one["cause"] for one in row.get("tries", ()))) if name}
        return seen

    def must_be_tried_again(self, key: str, cause: Cause) -> None:
        """The job is submitted again, once and for this cause, and ends well then."""
        self.heard.wait_for(key)
        assert self.heard.count(f"Task {key}: {cause.value}") == 1, self.heard.said
        assert self.heard.count("(1 of at most ") == 1, self.heard.said
        self.must_succeed(key)

    def stager_of(self, key: str) -> psutil.Process:
        """The first process of a task of this run."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                its = process.environ()
                task = (its.get("AZ_BATCH_JOB_ID"), its.get("AZ_BATCH_TASK_ID"))
                if process.cmdline()[-1:] == ["stager.pyz"] and task == (self.job_id, key):
                    return process
        raise AssertionError(f"task {key} has no stager")

    def must_succeed(self, *keys: str) -> None:
        self.heard.wait_for(*keys)
        assert {key: self.heard.ended[key] for key in keys} == dict.fromkeys(keys)
        assert all(self.workdir.read(f"{key}.txt") == "done\n" for key in keys)
