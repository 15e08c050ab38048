"""Bodies checked against the SDK's models."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.routes import ROUTES
from snakemake_executor_azurebatch.emulator.schema import check_body


def test_values_take_their_stored_form():
    body = {
        "id": "p",
        "vmSize": "s",
        "displayName": None,
        "targetDedicatedNodes": "2",
        "enableInterNodeCommunication": "True",
        "resizeTimeout": "PT06M00S",
        "taskSchedulingPolicy": {"nodeFillType": "pack"},
    }
    assert check_body("BatchPoolCreateOptions", body) == {
        "id": "p",
        "vmSize": "s",
        "targetDedicatedNodes": 2,
        "enableInterNodeCommunication": True,
        "resizeTimeout": "PT6M",
        "taskSchedulingPolicy": {"nodeFillType": "Pack"},
    }


def test_lists_of_objects_are_checked():
    output = {
        "filePattern": "*",
        "destination": {"container": {"containerUrl": "http://h/c?sas"}},
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }
    body = {"value": [{"id": "t", "commandLine": "true", "outputFiles": [output]}]}
    stored = check_body("BatchTaskGroup", body)["value"][0]["outputFiles"][0]
    assert stored["uploadOptions"] == {"uploadCondition": "TaskCompletion"}
    assert stored["destination"] == output["destination"]


def test_what_only_the_service_writes_is_ignored():
    body = {"odata.metadata": "x", "state": "active", "eTag": "e", "url": "u", "poolInfo": {"poolId": "p"}}
    assert check_body("BatchJob", body) == {"poolInfo": {"poolId": "p"}}


def test_members_of_older_versions_are_ignored_there_only():
    body = {"id": "p", "vmSize": "s", "targetNodeCommunicationMode": "simplified"}
    assert check_body("BatchPoolCreateOptions", body, is_legacy=True) == {"id": "p", "vmSize": "s"}
    with pytest.raises(ServiceFault, match="InvalidRequestBody"):
        check_body("BatchPoolCreateOptions", body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "InvalidRequestBody"),
        ({"id": "t", "commandLine": "c", "colour": 1}, "InvalidRequestBody"),
        ({"id": 5, "commandLine": "c"}, "InvalidRequestBody"),
        ({"id": "t", "commandLine": "c", "constraints": "none"}, "InvalidRequestBody"),
        ({"id": "t", "commandLine": "c", "resourceFiles": {}}, "InvalidRequestBody"),
        ({"id": "t"}, "MissingRequiredProperty"),
        ({"id": "t", "commandLine": None}, "MissingRequiredProperty"),
        ({"id": "t", "commandLine": "c", "requiredSlots": 1.5}, "InvalidPropertyValue"),
        ({"id": "t", "commandLine": "c", "requiredSlots": True}, "InvalidPropertyValue"),
        ({"id": "t", "commandLine": "c", "constraints": {"maxWallClockTime": "1 h"}}, "InvalidPropertyValue"),
    ],
)
def test_refused(body, code):
    with pytest.raises(ServiceFault, match=code):
        check_body("BatchTaskCreateOptions", body)


@pytest.mark.parametrize("model", sorted({route.model for route in ROUTES if route.model}))
def test_every_model_of_the_routes_is_known(model):
    with pytest.raises(ServiceFault, match="InvalidRequestBody"):
        check_body(model, {"no such member": 1})


@pytest.mark.parametrize(
    "value", [-(2**31) - 1, 2**31, 10**400, "1e999", float("nan"), float("inf"), 1.5, True, [], {}, "٣٣x", ""]
)
def test_odd_numbers_are_refused(value):
    with pytest.raises(ServiceFault, match="InvalidPropertyValue"):
        check_body("BatchPoolResizeOptions", {"targetDedicatedNodes": value})


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", 1, [], {}])
def test_odd_text_is_refused(value):
    with pytest.raises(ServiceFault, match="InvalidRequestBody"):
        check_body("BatchTaskCreateOptions", {"id": "t", "commandLine": value})


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", 5, [], "2020-13-01"]
)
def test_odd_times_are_refused(value):
    schedule = {"doNotRunUntil": value}
    body = {"id": "s", "schedule": schedule, "jobSpecification": {"poolInfo": {"poolId": "p"}}}
    with pytest.raises(ServiceFault, match="InvalidPropertyValue"):
        check_body("BatchJobScheduleCreateOptions", body)
