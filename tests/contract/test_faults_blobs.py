"""A blob storage that fails on purpose, with the real SDK; and one that does not stands in nobody's way."""

from __future__ import annotations

import os

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceResponseError

from snakemake_executor_azurebatch.emulator.control import ControlError
from snakemake_executor_azurebatch.emulator.service import StartOptions
from snakemake_executor_azurebatch.emulator.testing import running

#: Storage retries by other settings than Batch.
ONCE = {"retry_total": 0}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with running(tmp_path_factory.mktemp("blobs"), StartOptions(has_blob_faults=True)) as found:
        yield found


@pytest.fixture
def blobs(local, name):
    with local.blob_service(**ONCE) as service:
        yield service.create_container(name)
        local.clear_faults()


def test_everything_passes(blobs):
    content = os.urandom(9 * 1024 * 1024)
    blobs.upload_blob("a dir/b & c.bin", content, metadata={"k": "v"})
    blob = blobs.get_blob_client("a dir/b & c.bin")
    assert blob.download_blob().readall() == content
    assert blob.download_blob(offset=5, length=7).readall() == content[5:12]
    assert (blob.get_blob_properties().size, blob.get_blob_properties().metadata) == (len(content), {"k": "v"})
    assert [found.name for found in blobs.list_blobs()] == ["a dir/b & c.bin"]
    with pytest.raises(ResourceExistsError):
        blobs.upload_blob("a dir/b & c.bin", b"")
    blob.delete_blob()
    assert list(blobs.list_blobs()) == []


def test_a_busy_blob_storage(local, blobs):
    local.fault("throttle", endpoint="blob", seconds=3)
    with pytest.raises(HttpResponseError) as refused:
        blobs.upload_blob("b", b"x")
    assert (refused.value.status_code, refused.value.error_code) == (503, "ServerBusy")
    assert refused.value.response.headers["Retry-After"] == "3"


def test_errors_of_some_blobs_only(local, blobs):
    local.fault("error", endpoint="blob", method="GET", route="*/bad*")
    blobs.upload_blob("good", b"1")
    blobs.upload_blob("bad", b"2")
    assert blobs.download_blob("good").readall() == b"1"
    with pytest.raises(HttpResponseError) as refused:
        blobs.download_blob("bad")
    assert (refused.value.status_code, refused.value.error_code) == (500, "InternalError")


def test_a_broken_connection_and_a_lost_answer(local, blobs):
    local.fault("reset", endpoint="blob", method="PUT", count=1)
    with pytest.raises(ServiceResponseError):
        blobs.upload_blob("b", b"x")
    assert list(blobs.list_blobs()) == []
    local.fault("lost-answer", endpoint="blob", method="PUT", count=1)
    with pytest.raises(ServiceResponseError):
        blobs.upload_blob("b", b"x")
    assert [found.name for found in blobs.list_blobs()] == ["b"]


def test_faults_of_one_endpoint_leave_the_other_alone(local, blobs):
    local.fault("error")
    blobs.upload_blob("b", b"x")
    local.clear_faults()
    local.fault("error", endpoint="blob")
    with local.client(**ONCE) as client:
        assert list(client.list_pools()) == []


def test_without_the_option_there_are_no_blob_faults(tmp_path):
    with (
        running(tmp_path, StartOptions(with_blobs=False)) as local,
        pytest.raises(ControlError, match="was not started with --blob-faults"),
    ):
        local.fault("error", endpoint="blob")
