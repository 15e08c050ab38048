"""Paging, $filter, $select."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

from .conftest import code_of, task, values_of


@pytest.fixture
def many(bench):
    bench.batch.create_tasks(bench.id, [task(f"t{number:03}", required_slots=3) for number in range(250)])
    bench.add("done")
    bench.wait_for("done")
    return bench


def test_pages(many):
    pages = [list(page) for page in many.batch.list_tasks(many.id, max_results=100).by_page()]
    assert [len(page) for page in pages] == [100, 100, 51]
    ids = [found.id for page in pages for found in page]
    assert ids == sorted(ids)
    assert len(set(ids)) == 251


def test_an_exact_page_has_no_successor(many):
    pages = list(many.batch.list_tasks(many.id, max_results=251).by_page())
    assert len(pages) == 1


def test_filters_and_pages_together(many):
    found = many.batch.list_tasks(many.id, max_results=7, filter="startswith(id,'T00') and state eq 'Active'")
    assert [item.id for item in found] == [f"t{number:03}" for number in range(10)]


def test_filters_on_times(many):
    done = many.batch.get_task(many.id, "done")
    moment = done.state_transition_time.isoformat().replace("+00:00", "Z")
    since = many.batch.list_tasks(many.id, filter=f"stateTransitionTime ge DateTime'{moment}'")
    assert [item.id for item in since] == ["done"]
    assert list(many.batch.list_tasks(many.id, filter=f"stateTransitionTime gt DateTime'{moment}'")) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("state eq 'completed'", 1),
        ("executionInfo/exitCode eq 0", 1),
        ("executionInfo/exitCode ne 0", 250),
        ("executionInfo/result eq 'success'", 1),
        ("state eq 'completed' or id eq 't007'", 2),
        ("(id gt 't247') and (id le 't249')", 2),
    ],
)
def test_filters(many, text, count):
    assert len(list(many.batch.list_tasks(many.id, filter=text))) == count


def test_select(many):
    found = next(iter(many.batch.list_tasks(many.id, select=["id", "state"], filter="id eq 'done'")))
    assert found.as_dict() == {"id": "done", "state": "completed"}
    one = many.batch.get_task(many.id, "done", select=["id"])
    assert set(one.as_dict()) == {"odata.metadata", "id"}


@pytest.mark.parametrize("text", ["commandLine eq 'x'", "state like 'x'", "state ne 'active'", "id eq", "id eq 5"])
def test_an_invalid_filter_is_refused(bench, text):
    with pytest.raises(HttpResponseError) as refused:
        list(bench.batch.list_tasks(bench.id, filter=text))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidQueryParameterValue")
    assert values_of(refused)["QueryParameterName"] == "$filter"


def test_maxresults_has_limits(batch):
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_pools(max_results=-5))
    assert code_of(refused) == "InvalidQueryParameterValue"
    assert values_of(refused) == {
        "QueryParameterName": "maxresults",
        "QueryParameterValue": "-5",
        "Reason": "MaxResults cannot be less than 1",
    }
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_pools(max_results=1001))
    assert code_of(refused) == "OutOfRangeQueryParameterValue"


def test_jobs_and_pools_can_be_filtered(bench):
    jobs = list(bench.batch.list_jobs(filter=f"executionInfo/poolId eq '{bench.id}' and state ne 'deleting'"))
    assert [job.id for job in jobs] == [bench.id]
    pools = list(bench.batch.list_pools(filter=f"id eq '{bench.id}' and enableAutoScale eq false"))
    assert [pool.id for pool in pools] == [bench.id]


def test_metadata_and_links_use_the_host_that_the_client_used(many, service):
    other = service.url.replace("127.0.0.1", "localhost")
    with many.batch.__class__(other, many.batch._config.credential) as client:
        request = HttpRequest("GET", f"/jobs/{many.id}/tasks?maxresults=1&api-version=2025-06-01")
        body = client.send_request(request).json()
        assert body["odata.metadata"] == f"{other}/$metadata#tasks"
        assert body["odata.nextLink"].startswith(f"{other}/jobs/{many.id}/tasks?maxresults=1&api-version=")
        assert body["value"][0]["url"] == f"{other}/jobs/{many.id}/tasks/done"
        assert len(list(client.list_tasks(many.id, max_results=60))) == 251


def test_no_tasks(bench):
    assert list(bench.batch.list_tasks(bench.id)) == []
    assert isinstance(bench.batch.get_job(bench.id), m.BatchJob)


@pytest.mark.parametrize("query", ["maxresults=many", "$skiptoken=nonsense", "$skiptoken=WATV2:%FF"])
def test_paging_values_that_cannot_be_read(batch, query):
    with pytest.raises(HttpResponseError) as refused:
        batch.send_request(HttpRequest("GET", f"/pools?{query}&api-version=2025-06-01"))
    assert (refused.value.status_code, code_of(refused)) == (400, "InvalidQueryParameterValue")
