"""What an earlier run has left on a pool is there for a second try to open it."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.batch_job import LeftJob
from snakemake_executor_azurebatch.run.several import Several


@pytest.mark.parametrize(("code", "is_there"), [("ServerBusy", True), ("JobNotFound", False), ("JobCompleted", False)])
def test_a_left_batch_job_is_given_back_unless_it_has_ended(code, is_there):
    several = Several.__new__(Several)
    several._grounds = SimpleNamespace(
        batch=None, options=SimpleNamespace(sas_lifetime_s=60.0), new_job_id=lambda: "new"
    )
    several._left = {"p": LeftJob("left", "p", 5.0)}
    failing = ExitStack()
    assert several._job("p", failing)[0].job_id == "left"
    failing.__exit__(ServiceError, ServiceError("no", code), None)
    with ExitStack() as opening:
        assert several._job("p", opening)[0].job_id == ("left" if is_there else "new")
    assert not several._left
