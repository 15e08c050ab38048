"""What an earlier run has left on a pool is there for a second try to open it."""

import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.several import Several, extend_all


class Extended:
    """A Batch job that the service extends, or not."""

    def __init__(self, error=None):
        self.error = error
        self.times = 0

    def extend(self):
        self.times += 1
        if self.error is not None:
            raise self.error


def several_with(left):
    several = Several.__new__(Several)
    several._grounds = SimpleNamespace(
        batch=None, options=SimpleNamespace(sas_lifetime_s=60.0), new_job_id=lambda: "new"
    )
    several._lock = threading.Lock()
    several._left = {"p": left}
    return several


def call(step):
    step()


def test_a_left_batch_job_is_given_back_where_its_pool_cannot_be_opened():
    left = Extended()
    several, failing = several_with(left), ExitStack()
    assert several._job("p", failing, call) == (left, True)
    failing.__exit__(ServiceError, ServiceError("no"), None)
    with ExitStack() as opening:
        assert several._job("p", opening, call) == (left, True)
    assert not several._left
    assert left.times == 2


def test_a_left_batch_job_is_given_back_where_it_cannot_be_extended():
    several = several_with(Extended(ServiceError("no", "ServerBusy", 503)))
    with pytest.raises(ServiceError, match="no"), ExitStack() as opening:
        several._job("p", opening, call)
    assert several._left


@pytest.mark.parametrize("code", ["JobNotFound", "JobCompleted"])
def test_in_the_place_of_a_left_batch_job_that_has_ended_comes_a_new_one(code):
    several = several_with(Extended(ServiceError("no", code, 409)))
    failing = ExitStack()
    job, is_left = several._job("p", failing, call)
    assert (job.job_id, is_left) == ("new", False)
    failing.__exit__(ServiceError, ServiceError("no"), None)
    assert not several._left


def test_a_batch_job_that_has_ended_keeps_no_other_from_being_extended():
    ended, busy, last = Extended(ServiceError("gone", "JobCompleted", 409)), Extended(ServiceError("busy")), Extended()
    with pytest.raises(ServiceError, match="busy"):
        extend_all([ended, busy, last])
    assert last.times == 1

    extend_all([ended, last])
    assert last.times == 2
