"""Whatever is sent, the answer is the service's: an error with a code, never an internal one.

Bodies are made from the SDK's own models, right in places and wrong in others. Nodes of this service never
become idle, so that no random command is ever run.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any
from urllib.parse import quote

import pytest
from azure.batch import models
from azure.batch.models import _models
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snakemake_executor_azurebatch.emulator.routes import ROUTES
from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import running_service
from .raw import RawAnswer, RawClient

_QUIETLY = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_WITH_BODY = [route for route in ROUTES if route.model]
_PLACES = {"poolId": "p", "jobId": "j", "taskId": "t", "jobScheduleId": "s", "nodeId": "n", "userName": "u"}
_COPIES = 10
_VERSIONS = ("2025-06-01", "2024-02-01.19.0", "2022-10-01.16.0")

_ODD_TEXTS = [
    "",
    " ",
    "a b",
    "x" * 70,
    "ü",
    "\ud800",
    "\x00",
    "../..",
    "a/b",
    "%2F",
    "P1",
    "-PT1S",
    "PT99999999999H",
    "PT0S",
]
_ODD_TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999999-14:00", "Thu, 99 Foo 2020", "2020-13-01", "1"]
_ODD_NUMBERS = [-1, 0, 2**31, 2**63, 10**400, 1.5, 1e300, float("inf"), float("nan"), "1e999", "0x1", "٣", True]
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [*_ODD_TEXTS, *_ODD_TIMES, *_ODD_NUMBERS, None, [], {}, [[]], [None], {"": 1}, {"odata.type": []}]
)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.sampled_from(["p", "j", "t", "T", "true", "https://127.0.0.1:1/c?sig=x", "a-b_c", "standard_d2_v3"]),
    int: st.integers(0, 3) | st.integers(1, 3).map(str),
    float: st.floats(-1, 3) | st.just("1.5"),
    bool: st.booleans() | st.sampled_from(["true", "False"]),
    timedelta: st.sampled_from(["PT5M", "PT06M00S", "P10675199DT2H48M5.4775807S", "P1D"]),
    datetime: st.sampled_from(["2030-01-01T00:00:00Z", "2020-01-01T00:00:00.1234567Z", "2030-01-01T00:00:00+01:00"]),
    Any: st.just({}),
}


@cache
def _model(name: str) -> st.SearchStrategy[Any]:
    """Bodies of a model: any of its members, with values of their kind."""
    cls = getattr(models, name, None) or getattr(_models, name)
    cls.__new__(cls)
    required, optional = {}, {}
    for attribute, annotation in typing.get_type_hints(cls, globalns={**vars(_models), "_models": models}).items():
        field = next((vars(base)[attribute] for base in cls.__mro__ if attribute in vars(base)), None)
        if hasattr(field, "_rest_name"):
            members = optional if NoneType in typing.get_args(annotation) else required
            members[field._rest_name] = st.deferred(lambda annotation=annotation: _value(annotation))
    return st.fixed_dictionaries(required, optional=optional)


@cache
def _value(annotation: Any) -> st.SearchStrategy[Any]:
    choices = typing.get_args(annotation)
    if typing.get_origin(annotation) is list:
        return st.lists(_value(choices[0]), max_size=3)
    if typing.get_origin(annotation) is dict:
        return st.dictionaries(st.sampled_from(["a", "b"]), _value(str), max_size=2)
    if choices:
        return st.one_of([_value(choice) for choice in choices if choice is not NoneType])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from([member.value for member in annotation] + ["PACK", "Requeue"])
    return _SCALARS[annotation] if annotation in _SCALARS else _model(annotation.__name__)


def _spoil(data: st.DataObject, body: Any) -> Any:
    """Put something odd in one place of a body."""
    places = list(body) if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else ()
    if not places:
        return data.draw(_ODD)
    place = data.draw(st.sampled_from([*places, "colour"] if isinstance(body, dict) else list(places)))
    body[place] = _spoil(data, body[place]) if place != "colour" else 1
    return body


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawClient]:
    """A service with a few pools, jobs, tasks and schedules; no node ever gets ready."""
    with running_service(tmp_path_factory.mktemp("random"), Timings(boot_s=1e6)) as running:
        client = RawClient(running.url)
        for copy in range(_COPIES):
            pool = {"poolInfo": {"poolId": f"p{copy}"}}
            client.send("POST", "/pools", {"id": f"p{copy}", "vmSize": "standard_d1_v2"})
            client.send("POST", "/jobs", {"id": f"j{copy}", **pool})
            client.send("POST", f"/jobs/j{copy}/tasks", {"id": f"t{copy}", "commandLine": "true"})
            schedule = {"recurrenceInterval": "P1D"}
            client.send("POST", "/jobschedules", {"id": f"s{copy}", "schedule": schedule, "jobSpecification": pool})
        yield client
        client.close()


def _check(answer: RawAnswer) -> None:
    assert answer.status != 500, answer.content
    if answer.status >= 400:
        assert answer.code
        assert answer.json()["message"]["value"]


def _path(template: str, copy: int = 0) -> str:
    for name, value in _PLACES.items():
        template = template.replace(f"{{{name}}}", f"{value}{copy}")
    return template


@settings(_QUIETLY, max_examples=500)
@given(data=st.data())
def test_random_bodies(client: RawClient, data: st.DataObject):
    route = data.draw(st.sampled_from(_WITH_BODY))
    body = data.draw(_model(route.model))
    if data.draw(st.booleans()):
        body = _spoil(data, body)
    version = data.draw(st.sampled_from(_VERSIONS))
    target = _path(route.template, data.draw(st.integers(0, _COPIES - 1)))
    _check(client.send(route.method, f"{target}?api-version={version}", body))


@settings(_QUIETLY, max_examples=100)
@given(route=st.sampled_from(_WITH_BODY), content=st.binary(min_size=1, max_size=12) | st.sampled_from([b"null", b"1"]))
@example(_WITH_BODY[0], b"[" * 200_000)
@example(_WITH_BODY[0], b'{"id":' * 200_000)
@example(_WITH_BODY[0], b'{"id": "p2", "vmSize": "\\ud800"}')
@example(_WITH_BODY[0], b'{"id": "p3", "vmSize": "s", "taskSlotsPerNode": 1' + b"0" * 5000 + b"}")
@example(_WITH_BODY[0], b"\xef\xbb\xbf{}")
def test_random_bytes(client: RawClient, route: Any, content: bytes):
    answer = client.send(route.method, _path(route.template), content)
    _check(answer)
    assert answer.status >= 400


_SETTINGS = [
    "speed",
    "skewSeconds",
    "advanceSeconds",
    "kind",
    "seconds",
    "pool",
    "node",
    "times",
    "rate",
    "status",
    "id",
]


@settings(_QUIETLY, max_examples=200)
@given(
    place=st.sampled_from(["clock", "faults", "nodes", "faults/1", "faults/x", ""]),
    method=st.sampled_from(["GET", "POST", "POST", "POST", "DELETE"]),
    body=st.dictionaries(st.sampled_from(_SETTINGS), _ODD, max_size=3) | _ODD,
    kind=st.sampled_from([None, "clock-skew", "quota", "allocation-failure", "kill", "preempt"]),
)
@example("clock", "POST", {"speed": 10**400}, None)
def test_random_requests_to_the_services_own_operations(
    client: RawClient, place: str, method: str, body: Any, kind: str | None
):
    if kind and isinstance(body, dict):
        body["kind"] = kind
    _check(client.send(method, f"/_admin/{place}", body))
    client.send("POST", "/_admin/clock", {"speed": 1, "skewSeconds": 0})
    client.send("DELETE", "/_admin/faults")


_WORDS = ["id", "state", "executionInfo/exitCode", "eq", "ne", "lt", "and", "or", "not", "startswith", "(", ")", ","]
_WORDS += ["'t'", "''", "'", "5", "-1", "9" * 30, "true", "DateTime'2020-01-01'", "DateTime'x'", "creationTime", "lt"]
_WORDS += ["DateTime'0001-01-01T00:00:00+14:00'", "/", "executionInfo", "executionInfo/", "ü", "\x00"]


@settings(_QUIETLY, max_examples=300)
@given(words=st.lists(st.sampled_from(_WORDS), min_size=1, max_size=9).map(" ".join), name=st.sampled_from(["$filter"]))
@example("(" * 1000, "$filter")
@example(" or ".join(["id eq 't'"] * 300), "$filter")
@example("9" * 4500, "maxresults")
@example("executionInfo/exitCode eq " + "9" * 4500, "$filter")
@example("WATV2:////", "$skiptoken")
@example("id,,x", "$select")
@example("stats,x", "$expand")
def test_random_queries(client: RawClient, words: str, name: str):
    for path in ("/jobs/j0/tasks", "/pools", "/jobs"):
        _check(client.send("GET", f"{path}?{name}={quote(words)}"))


@settings(_QUIETLY, max_examples=150)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    parts=st.lists(
        st.sampled_from(["pools", "p0", "jobs", "tasks", "files", "", "..", "%00", "%FF", "s:job-1"]), max_size=6
    ),
)
def test_random_paths(client: RawClient, method: str, parts: list[str]):
    answer = client.send(method, "/" + "/".join(parts))
    if method == "HEAD":
        assert answer.status != 500
        assert answer.content == b""
    else:
        _check(answer)
