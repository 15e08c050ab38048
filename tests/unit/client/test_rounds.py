"""How often a scheduler goes round that counts reports as Snakemake's does."""

import inspect
import threading
from contextlib import suppress

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from snakemake_executor_azurebatch.rounds import one_round


class Scheduler:
    """As far as it matters here: reports are noted, and each wakes it; a round takes all that are noted by then."""

    def __init__(self):
        self._open_jobs = threading.Semaphore(0)
        self._noted, self._lock = [], threading.Lock()
        self.rounds = []

    def report(self, job):
        with self._lock:
            self._noted.append(job)
            self._open_jobs.release()

    def go_round(self, until):
        """Until this job was taken."""
        while not any(until in taken for taken in self.rounds):
            assert self._open_jobs.acquire(timeout=60), "nothing woke it"
            with self._lock:
                self.rounds.append(self._noted)
                self._noted = []

    @property
    def is_woken(self):
        return self._open_jobs.acquire(blocking=False)


def test_many_reports_make_one_round():
    scheduler = Scheduler()
    with one_round(scheduler):
        for number in range(100):
            scheduler.report(number)
    scheduler.go_round(until=99)

    assert scheduler.rounds == [list(range(100))]
    assert not scheduler.is_woken


def test_without_a_report_there_is_no_harm():
    scheduler = Scheduler()
    with one_round(scheduler):
        pass
    scheduler.report("later")
    scheduler.go_round(until="later")

    assert [job for taken in scheduler.rounds for job in taken] == ["later"]


def test_what_is_raised_within_leaves_it_woken():
    scheduler = Scheduler()
    with suppress(KeyError), one_round(scheduler):
        scheduler.report("one")
        raise KeyError("bug")
    scheduler.go_round(until="one")

    assert scheduler.rounds == [["one"]]


@pytest.mark.parametrize("burst", [1, 7, 100])
def test_none_is_missed_by_one_that_goes_round_meanwhile(burst):
    scheduler, count = Scheduler(), 7000
    rounds = threading.Thread(target=scheduler.go_round, args=(count - 1,), daemon=True)
    rounds.start()
    for first in range(0, count, burst):
        with one_round(scheduler):
            for number in range(first, first + burst):
                scheduler.report(number)
    rounds.join(60)

    assert not rounds.is_alive()
    assert [number for taken in scheduler.rounds for number in taken] == list(range(count))


def test_one_that_looks_at_some_of_the_ready_jobs_goes_round_for_each_report():
    scheduler = Scheduler()
    scheduler.subsample = 10
    with one_round(scheduler):
        for number in range(3):
            scheduler.report(number)

    assert [scheduler.is_woken for _ in range(4)] == [True, True, True, False]


def test_a_scheduler_that_counts_in_another_way_is_left_alone():
    with one_round(object()):
        pass


def test_snakemakes_scheduler_counts_reports_so():
    """Its scheduler needs a whole workflow to be made, so this is read and not tried."""
    assert "self._open_jobs = threading.Semaphore(0)" in inspect.getsource(JobScheduler.__init__)
    for report in (JobScheduler._proceed, JobScheduler.error_callback):
        assert "self._open_jobs.release()" in inspect.getsource(report)
    assert "self._open_jobs.acquire()" in inspect.getsource(JobScheduler.schedule)
