"""What an earlier run has left on a pool is there for a second try to open it."""

import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.batch_job import BatchJob
from snakemake_executor_azurebatch.run.several import Several, extend_all


@pytest.mark.parametrize(("code", "is_there"), [("ServerBusy", True), ("JobNotFound", False), ("JobCompleted", False)])
def test_a_left_batch_job_is_given_back_unless_it_has_ended(code, is_there):
    several = Several.__new__(Several)
    several._grounds = SimpleNamespace(
        batch=None, options=SimpleNamespace(sas_lifetime_s=60.0), new_job_id=lambda: "new"
    )
    several._lock = threading.Lock()
    several._left = {"p": BatchJob(None, "left", 60.0)}
    failing = ExitStack()
    assert several._job("p", failing)[0].job_id == "left"
    failing.__exit__(ServiceError, ServiceError("no", code), None)
    with ExitStack() as opening:
        assert several._job("p", opening)[0].job_id == ("left" if is_there else "new")
    assert not several._left


class Extended:
    """A Batch job that the service extends, or not."""

    def __init__(self, error=None):
        self.error = error
        self.times = 0

    def extend(self):
        self.times += 1
        if self.error is not None:
            raise self.error


def test_a_batch_job_that_has_ended_keeps_no_other_from_being_extended():
    ended, busy, last = Extended(ServiceError("gone", "JobCompleted", 409)), Extended(ServiceError("busy")), Extended()
    with pytest.raises(ServiceError, match="busy"):
        extend_all([ended, busy, last])
    assert last.times == 1

    extend_all([ended, last])
    assert last.times == 2
