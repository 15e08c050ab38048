"""Jobs that are to go to other nodes, runs that are to be left: and something is in the way."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from snakemake_executor_azurebatch.errors import AccessRefused
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.moving import Move
from tests.workflow.troubles.lab import job, provokes


@dataclass
class Elsewhere:
    """Dedicated nodes; ``opening`` is what it takes to have them."""

    opening: Callable[[], object] = lambda: None
    taking: Callable[[], object] = lambda: None
    came: list[str] = field(default_factory=list)

    def prepare(self, request: JobRequest) -> Move:
        self.opening()

        def submit() -> None:
            self.taking()
            self.came.append(request.key)

        return Move("other-pool", submit)


def fail() -> None:
    raise RuntimeError("no room there")


@provokes(Cause.THROTTLED)
def test_a_job_that_cannot_be_moved_is_reported(lab):
    elsewhere = Elsewhere()
    with lab.running(to_dedicated=elsewhere, service_patience=0.02) as run:
        run.submit([lab.waits_for_go("a"), lab.waits_for_go("b")])
        lab.start_of("a")
        lab.control.add_fault("throttle", method="DELETE", route="/jobs/*/tasks/*", status=503, seconds=0)
        run._mover.requeued({"a": 3, "b": 1})
        lab.must_fail("a", Cause.THROTTLED)
        lab.go()
        lab.must_succeed("b")
    assert elsewhere.came == []


@provokes(Cause.NOT_SUBMITTED)
def test_a_job_that_is_not_taken_elsewhere_is_reported(lab):
    with lab.running(to_dedicated=Elsewhere(taking=fail)) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        run._mover.requeued({"a": 3})
        assert "no room there" in lab.must_fail("a", Cause.NOT_SUBMITTED)


def test_a_job_for_which_there_is_no_room_stays(lab):
    with lab.running(to_dedicated=Elsewhere(opening=fail)) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        for _ in range(2):
            run._mover.requeued({"a": 3})
        lab.heard.wait(
            lambda: lab.heard.count("Task a cannot go to dedicated nodes, and stays where it is: no room") == 1
        )
        lab.go()
        lab.must_succeed("a")
    assert lab.heard.count("cannot go to dedicated nodes") == 1


def test_jobs_are_reported_while_a_pool_is_opened_for_another(lab):
    is_open = threading.Event()
    elsewhere = Elsewhere(opening=is_open.wait)
    with lab.running(to_dedicated=elsewhere) as run:
        run.submit([lab.waits_for_go("a"), job("b")])
        lab.start_of("a")
        for _ in range(3):
            run._mover.requeued({"a": 3})
        run.submit([job("c")])
        lab.must_succeed("b", "c")
        is_open.set()
        lab.until(lambda: elsewhere.came)
    assert elsewhere.came == ["a"]
    assert lab.heard.count("Task a has lost 3 nodes (taken away by Azure, or gone): it goes to dedicated nodes") == 1
    assert "a" not in lab.heard.ended


def test_a_run_that_cannot_be_left_goes_on_as_it_was(lab):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.until(lambda: run.is_sent)
        lab.control.add_fault("clock-skew")
        with pytest.raises(AccessRefused):
            run.leave()
        lab.control.clear_faults()
        lab.go()
        lab.must_succeed("a")


def test_a_run_that_could_not_be_left_can_be_cancelled(lab):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.control.add_fault("clock-skew")
        with pytest.raises(AccessRefused):
            run.leave()
        lab.control.clear_faults()
        assert run.cancel() == 1
    assert lab.batch.get_job(lab.job_id).state != "active"
