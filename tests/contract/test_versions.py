"""Older api-versions, and what all versions have in common on the wire, in plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from .raw import RawClient

LATEST = "2025-06-01"
OLDER = ("2024-02-01.19.0", "2023-11-01.18.0", "2022-10-01.16.0")
_POOL = {"vmSize": "STANDARD_D2_v3", "targetDedicatedNodes": 0}


@pytest.fixture
def raw(service) -> Iterator[RawClient]:
    client = RawClient(service.url)
    yield client
    client.close()


@pytest.fixture
def job(raw: RawClient, name: str) -> Iterator[str]:
    """A job on a pool that does not exist: its tasks wait."""
    assert raw.send("POST", "/jobs", {"id": name, "poolInfo": {"poolId": "nowhere"}}).status == 201
    yield name
    raw.send("DELETE", f"/jobs/{name}")


@pytest.mark.parametrize("version", OLDER)
def test_members_of_older_versions(raw: RawClient, name: str, version: str):
    more = {"certificateReferences": [], "targetNodeCommunicationMode": "simplified", "resourceTags": {"a": "b"}}
    raw.version = version
    assert raw.send("POST", "/pools", {"id": name, **_POOL, **more}).status == 201
    shown = raw.send("GET", f"/pools/{name}").json()
    assert (shown["certificateReferences"], shown["targetNodeCommunicationMode"]) == ([], "default")
    listed = raw.send("GET", f"/pools?$filter=id%20eq%20'{name}'").json()["value"]
    assert [item["certificateReferences"] for item in listed] == [[]]
    raw.version = LATEST
    assert "certificateReferences" not in raw.send("GET", f"/pools/{name}").json()
    refused = raw.send("POST", "/pools", {"id": f"{name}-2", **_POOL, **more})
    assert (refused.status, refused.code) == (400, "InvalidRequestBody")
    assert raw.send("DELETE", f"/pools/{name}").status == 202


@pytest.mark.parametrize(
    ("member", "value", "what"),
    [
        ("certificateReferences", [{"thumbprint": "0", "thumbprintAlgorithm": "sha1"}], "certificates"),
        ("cloudServiceConfiguration", {"osFamily": "6"}, "cloud services"),
        ("applicationLicenses", ["maya"], "application licenses"),
    ],
)
def test_what_has_left_the_service_is_refused(raw: RawClient, name: str, member: str, value: object, what: str):
    raw.version = "2024-02-01.19.0"
    refused = raw.send("POST", "/pools", {"id": name, **_POOL, member: value})
    assert (refused.status, refused.code) == (501, "NotEmulated")
    assert f"does not emulate {what} ({member})" in refused.json()["message"]["value"]


@pytest.mark.parametrize("target", ["/pools?api-version=2019-08-01.10.0", "/pools?api-version=soon"])
def test_unknown_versions_are_refused(raw: RawClient, target: str):
    refused = raw.send("GET", target)
    assert (refused.status, refused.code) == (400, "UnsupportedRequestVersion")


def test_a_version_is_required(raw: RawClient):
    refused = raw.send("GET", "/pools?api-version=")
    assert (refused.status, refused.code) == (400, "MissingRequiredQueryParameter")


def test_names_in_the_query_know_no_case(raw: RawClient, job: str):
    for number in range(3):
        raw.send("POST", f"/jobs/{job}/tasks", {"id": f"t{number}", "commandLine": "true"})
    page = raw.send("GET", f"/jobs/{job}/tasks?MaxResults=2&$SELECT=id&timeOut=30&Api-Version={LATEST}").json()
    assert page["value"] == [{"id": "t0"}, {"id": "t1"}]
    link = urlsplit(page["odata.nextLink"])
    rest = raw.send("GET", f"{link.path}?{link.query}").json()
    assert rest["value"] == [{"id": "t2"}]


def test_ids_know_no_case_and_keep_theirs(raw: RawClient, job: str):
    raw.send("POST", f"/jobs/{job.upper()}/tasks", {"id": "Mixed", "commandLine": "true"})
    found = raw.send("GET", f"/jobs/{job.upper()}/tasks/mIXED").json()
    assert (found["id"], found["url"].rpartition("/jobs/")[2]) == ("Mixed", f"{job}/tasks/Mixed")
    again = raw.send("POST", f"/jobs/{job}/tasks", {"id": "MIXED", "commandLine": "true"})
    assert (again.status, again.code) == (409, "TaskExists")


@pytest.mark.parametrize("host", ["localhost:1234", "batch.example.net"])
def test_links_lead_where_the_client_came_from(raw: RawClient, job: str, host: str):
    for number in range(2):
        raw.send("POST", f"/jobs/{job}/tasks", {"id": f"t{number}", "commandLine": "true"})
    page = raw.send("GET", f"/jobs/{job}/tasks?maxresults=1", headers={"Host": host}).json()
    assert page["odata.nextLink"].startswith(f"http://{host}/jobs/{job}/tasks?maxresults=1&")
    assert page["value"][0]["url"] == f"http://{host}/jobs/{job}/tasks/t0"


def test_head_has_the_headers_of_get_and_no_body(raw: RawClient, name: str):
    assert raw.send("POST", "/pools", {"id": name, **_POOL}).status == 201
    get, head = raw.send("GET", f"/pools/{name}"), raw.send("HEAD", f"/pools/{name}")
    assert (head.status, head.content) == (200, b"")
    assert head.headers["ETag"] == get.headers["ETag"]
    assert head.headers["Last-Modified"] == get.headers["Last-Modified"]
    raw.send("DELETE", f"/pools/{name}")


@pytest.mark.parametrize("path", ["/pools/nobody", "/jobs/nobody/tasks/t/files/stdout.txt"])
def test_head_of_nothing(raw: RawClient, path: str):
    missing = raw.send("HEAD", path)
    assert (missing.status, missing.content) == (404, b"")


def test_numbers_and_flags_may_come_as_text(raw: RawClient, name: str):
    text = {"targetDedicatedNodes": "0", "taskSlotsPerNode": "2", "enableInterNodeCommunication": "false"}
    assert raw.send("POST", "/pools", {"id": name, "vmSize": "s", **text}).status == 201
    shown = raw.send("GET", f"/pools/{name}").json()
    assert (shown["targetDedicatedNodes"], shown["taskSlotsPerNode"]) == (0, 2)
    assert shown["enableInterNodeCommunication"] is False
    raw.send("DELETE", f"/pools/{name}")


def test_an_action_without_a_body_may_say_what_it_has_not(raw: RawClient, job: str):
    headers = {"Content-Type": "application/json; odata=minimalmetadata; charset=utf-8"}
    assert raw.send("POST", f"/jobs/{job}/terminate", headers=headers).status == 202


def test_an_odd_job_id_is_refused(raw: RawClient):
    refused = raw.send("POST", "/jobs", {"id": "a b", "poolInfo": {"poolId": "p"}})
    assert (refused.status, refused.code) == (400, "InvalidPropertyValue")
