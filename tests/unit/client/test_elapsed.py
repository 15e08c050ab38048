"""Time that goes on while the machine sleeps: the wall clock of Batch jobs, and the wait for their extension."""

from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from snakemake_executor_azurebatch.run import elapsed, keeper
from snakemake_executor_azurebatch.run.batch_job import BatchJob, find_leftovers
from snakemake_executor_azurebatch.run.elapsed import Since
from snakemake_executor_azurebatch.run.keeper import Keeper

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
PATIENCE_S = 60


class Clocks:
    """Both clocks of a machine. ``now_s``: the true time."""

    def __init__(self):
        self.awake_s, self.now_s = 0.0, 1e9

    def monotonic(self):
        return self.awake_s

    def time(self):
        return self.now_s

    def work(self, s):
        self.awake_s += s
        self.now_s += s

    def sleep(self, s):
        self.now_s += s


@pytest.fixture
def clocks(monkeypatch):
    made = Clocks()
    monkeypatch.setattr(elapsed, "time", made)
    return made


class Service:
    """Keeps the wall clock that a Batch job was given."""

    def __init__(self, **job):
        self.lasts_s = 0.0
        self._job = job

    def update_job(self, _, options):
        self.lasts_s = options.constraints.max_wall_clock_time.total_seconds()

    def list_jobs(self, **_):
        return [SimpleNamespace(id="left", metadata=[], pool_info=None, **self._job)]


def test_time_asleep_counts_and_a_clock_that_is_set_back_does_no_harm(clocks):
    since = Since.ago(5)
    clocks.work(10)
    assert since.elapsed_s == 15
    clocks.sleep(HOUR_S)
    assert since.elapsed_s == HOUR_S + 15
    clocks.now_s -= DAY_S
    assert since.elapsed_s == 15


def test_a_batch_job_lasts_its_whole_lifetime_after_nights_with_the_lid_closed(clocks):
    service = Service()
    job = BatchJob(service, "job", DAY_S)
    began_s = clocks.now_s
    for _ in range(4):
        clocks.work(16 * HOUR_S)
        clocks.sleep(8 * HOUR_S)
        job.extend()
        assert began_s + service.lasts_s - clocks.now_s == DAY_S


def test_that_of_a_killed_run_is_counted_from_its_creation_whenever_it_is_extended(clocks):
    service = Service(creation_time=datetime.now(UTC) - timedelta(hours=30))
    [left] = find_leftovers(service, {}, lambda _: True)
    clocks.work(HOUR_S)
    clocks.sleep(9 * HOUR_S)

    BatchJob(service, left.job_id, DAY_S, left.created).extend()

    assert service.lasts_s == pytest.approx(30 * HOUR_S + 10 * HOUR_S + DAY_S, abs=60)


def test_what_is_due_when_the_machine_wakes_is_done_soon(clocks, monkeypatch):
    monkeypatch.setattr(keeper, "SLICE_S", 0.01)
    taken = SimpleQueue()
    keeping = Keeper(6 * HOUR_S, (lambda: taken.put(clocks.now_s),), print)

    clocks.sleep(8 * HOUR_S)

    assert taken.get(timeout=PATIENCE_S) == clocks.now_s
    keeping.stop()
