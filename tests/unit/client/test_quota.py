"""Waiting for room for one more Batch job, and making it."""

import threading

import pytest
from azure.core.exceptions import ResourceExistsError

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.batch_job import BatchJob
from snakemake_executor_azurebatch.run.quota import QUOTA_REACHED, when_there_is_room


def full():
    raise ServiceError("the account is full", QUOTA_REACHED, 409)


def test_it_is_told_once_and_ends_at_once_when_nobody_wants_it_any_more():
    stopping, said = threading.Event(), []

    def say(text):
        said.append(text)
        stopping.set()

    with pytest.raises(ServiceError, match="the account is full"):
        when_there_is_room(full, say, 3600.0, stopping, first_pause_s=3600.0)
    [text] = said
    assert "Waiting until another Batch job of the account ends, for 60 min at most." in text
    assert "cleanup" not in text, "it ends no Batch job that is active, and others do not count"
    assert "az batch job stop" in text


def test_nothing_is_waited_for_where_there_is_no_time():
    with pytest.raises(ServiceError, match="the account is full"):
        when_there_is_room(full, pytest.fail, 0.0)


def test_a_batch_job_that_the_first_of_two_requests_has_made_is_there():
    class Client:
        def create_job(self, _):
            error = ResourceExistsError("exists")
            error.status_code, error.error = 409, type("Inner", (), {"code": "JobExists"})
            raise error

    BatchJob(Client(), "j", 3600.0).create("pool", {}, {})
