"""Headers, error bodies, refusals: what every answer has in common."""

from __future__ import annotations

import json

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from .conftest import code_of, pool, values_of, wait_until

VERSION = "api-version=2025-06-01"


def _send(batch, method, path, body=None):
    return batch.send_request(HttpRequest(method, f"{path}?{VERSION}", json=body))


def test_an_error_has_the_recorded_shape(batch, service):
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_pool("nobody")
    body = json.loads(missing.value.response.body())
    assert body["odata.metadata"] == (
        f"{service.url}/$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    )
    assert body["code"] == "PoolNotFound"
    sentence, request_id, moment = body["message"]["value"].split("\n")
    assert sentence == "The specified pool does not exist."
    assert request_id == f"RequestId:{missing.value.response.headers['request-id']}"
    assert moment.startswith("Time:")
    assert moment.endswith("Z")
    assert missing.value.response.reason == sentence
    assert "(PoolNotFound) The specified pool does not exist." in str(missing.value)


def test_an_existing_job_is_refused_with_the_recorded_sentence(bench):
    with pytest.raises(ResourceExistsError) as refused:
        bench.batch.create_job(m.BatchJobCreateOptions(id=bench.id.upper(), pool_info=m.BatchPoolInfo(pool_id="p")))
    assert "(JobExists) The specified job already exists." in str(refused.value)


def test_common_headers(batch):
    request = HttpRequest("GET", f"/pools?{VERSION}")
    request.headers.update({"client-request-id": "abc", "return-client-request-id": "true"})
    headers = batch.send_request(request).headers
    assert headers["DataServiceVersion"] == "3.0"
    assert headers["client-request-id"] == "abc"
    assert headers["Content-Type"] == "application/json;odata=minimalmetadata"
    assert len(headers["request-id"]) == 36


def test_the_client_request_id_comes_back_on_demand_only(batch):
    request = HttpRequest("GET", f"/pools?{VERSION}")
    request.headers["client-request-id"] = "abc"
    assert "client-request-id" not in batch.send_request(request).headers


def test_etags_hold_through_state_changes_and_move_with_user_updates(bench):
    batch, name = bench.batch, bench.id
    before = batch.get_pool(name).etag
    wait_until(lambda: batch.get_pool(name).allocation_state == m.AllocationState.STEADY)
    assert batch.get_pool(name).etag == before
    job = batch.get_job(name).etag
    batch.update_job(name, m.BatchJobUpdateOptions(priority=5))
    assert batch.get_job(name).etag != job


def test_conditions(bench):
    batch, name = bench.batch, bench.id
    etag = batch.get_job(name).etag
    batch.update_job(
        name, m.BatchJobUpdateOptions(priority=1), etag=etag, match_condition=MatchConditions.IfNotModified
    )
    with pytest.raises(ResourceModifiedError) as refused:
        batch.update_job(
            name, m.BatchJobUpdateOptions(priority=2), etag=etag, match_condition=MatchConditions.IfNotModified
        )
    assert (refused.value.status_code, code_of(refused)) == (412, "ConditionNotMet")
    assert batch.get_job(name).priority == 1
    with pytest.raises(ResourceModifiedError) as unmodified:
        batch.get_job(name, etag=batch.get_job(name).etag, match_condition=MatchConditions.IfModified)
    assert unmodified.value.status_code == 304


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/certificates"),
        ("DELETE", "/certificates(thumbprintAlgorithm=sha1,thumbprint=0)"),
        ("POST", "/certificates(thumbprintAlgorithm=sha1,thumbprint=0)/canceldelete"),
        ("GET", "/pools/p/nodes/n/rdp"),
    ],
)
def test_what_is_not_emulated_says_so(batch, method, path):
    with pytest.raises(HttpResponseError) as refused:
        _send(batch, method, path)
    assert (refused.value.status_code, code_of(refused)) == (501, "NotEmulated")


def test_pool_features_that_are_not_emulated_are_named(batch, name):
    mount = m.NfsMountConfiguration(source="server:/share", relative_mount_path="share")
    options = pool(name, mount_configuration=[m.MountConfiguration(nfs_mount_configuration=mount)])
    with pytest.raises(HttpResponseError) as refused:
        batch.create_pool(options)
    assert (refused.value.status_code, code_of(refused)) == (501, "NotEmulated")
    assert "mounts (mountConfiguration)" in refused.value.message


def test_an_unknown_member_is_named(batch):
    with pytest.raises(HttpResponseError) as refused:
        _send(batch, "POST", "/pools", {"id": "p", "vmSize": "s", "vmColour": "red"})
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidRequestBody")
    assert "'vmColour'" in values_of(refused)["Reason"]


def test_an_unknown_nested_member_is_named(bench):
    body = {"value": [{"id": "t", "commandLine": "true", "constraints": {"retries": 3}}]}
    with pytest.raises(HttpResponseError) as refused:
        _send(bench.batch, "POST", f"/jobs/{bench.id}/addtaskcollection", body)
    assert "'retries'" in values_of(refused)["Reason"]


def test_a_missing_member_is_named(batch):
    with pytest.raises(HttpResponseError) as refused:
        _send(batch, "POST", "/pools", {"id": "p"})
    assert code_of(refused) == "MissingRequiredProperty"
    assert values_of(refused)["PropertyName"] == "vmSize"


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"id": "a b", "vmSize": "s"}, "id"),
        ({"id": "p", "vmSize": "s", "taskSlotsPerNode": 0}, "taskSlotsPerNode"),
        ({"id": "p", "vmSize": "s", "targetDedicatedNodes": "many"}, "targetDedicatedNodes"),
        ({"id": "p", "vmSize": "s", "resizeTimeout": "PT1M"}, "resizeTimeout"),
        ({"id": "p", "vmSize": "s", "taskSchedulingPolicy": {"nodeFillType": "heap"}}, "nodeFillType"),
    ],
)
def test_an_invalid_value_is_named(batch, body, member):
    with pytest.raises(HttpResponseError) as refused:
        _send(batch, "POST", "/pools", body)
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidPropertyValue")
    assert values_of(refused)["PropertyName"] == member


def test_what_is_no_json_is_refused(batch):
    request = HttpRequest("POST", f"/pools?{VERSION}", content=b"{", headers={"Content-Type": "application/json"})
    with pytest.raises(HttpResponseError) as refused:
        batch.send_request(request)
    assert code_of(refused) == "InvalidRequestBody"


def test_unknown_paths_and_verbs(batch):
    with pytest.raises(ResourceNotFoundError) as missing:
        _send(batch, "GET", "/nothing")
    assert code_of(missing) == "ResourceNotFound"
    with pytest.raises(HttpResponseError) as refused:
        _send(batch, "PATCH", "/pools")
    assert (refused.value.status_code, code_of(refused)) == (405, "UnsupportedHttpVerb")


def test_every_request_is_logged(service, bench):
    bench.batch.create_task_collection(
        bench.id, m.BatchTaskGroup(task_values=[m.BatchTaskCreateOptions(id="t", command_line="true")])
    )
    lines = [json.loads(line) for line in service.config.request_log.read_text().splitlines()]
    entry = next(line for line in reversed(lines) if line.get("items"))
    assert entry["route"] == "/jobs/{jobId}/addtaskcollection"
    assert (entry["method"], entry["status"], entry["items"]) == ("POST", 200, 1)
    assert entry["client"].startswith("azsdk-python-batch/")
    assert entry["duration_ms"] >= 0


def test_a_condition_that_cannot_be_read(bench):
    request = HttpRequest("GET", f"/jobs/{bench.id}?{VERSION}", headers={"If-Modified-Since": "soon"})
    with pytest.raises(HttpResponseError) as refused:
        bench.batch.send_request(request)
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidHeaderValue")


def test_conditions_on_times(bench):
    def get(name, moment):
        return bench.batch.send_request(HttpRequest("GET", f"/jobs/{bench.id}?{VERSION}", headers={name: moment}))

    past, future = "Mon, 06 Jan 2025 10:00:00 GMT", "Mon, 06 Jan 2125 10:00:00 GMT"
    assert get("If-Modified-Since", past).status_code == 200
    assert get("If-Unmodified-Since", future).status_code == 200
    with pytest.raises(ResourceModifiedError) as unmodified:
        get("If-Modified-Since", future)
    assert unmodified.value.status_code == 304
    with pytest.raises(HttpResponseError) as refused:
        get("If-Unmodified-Since", past)
    assert (refused.value.status_code, code_of(refused)) == (412, "ConditionNotMet")
