"""The $filter language."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator import odata

TASK = {
    "id": "Align-7",
    "state": "completed",
    "stateTransitionTime": "2026-01-02T03:04:05.5Z",
    "executionInfo": {"exitCode": 2, "result": "failure", "endTime": "2026-01-02T03:04:05Z"},
}


@pytest.mark.parametrize(
    "text",
    [
        "state eq 'completed'",
        "state eq 'COMPLETED'",
        "startswith(id,'align')",
        "startswith( id , 'ALIGN-' ) and state eq 'completed'",
        "executionInfo/exitCode gt 1",
        "executionInfo/exitCode ne -1",
        "executionInfo/result ne 'success'",
        "stateTransitionTime gt DateTime'2026-01-02T03:04:05Z'",
        "stateTransitionTime gt DateTime'2026-01-02T03:04:05.4999Z'",
        "stateTransitionTime le DateTime'2026-01-02T03:04:05.5Z'",
        "stateTransitionTime lt datetime'2026-01-02T03:04:05.52Z'",
        "stateTransitionTime lt DateTime'2026-01-02T05:04:06+02:00'",
        "executionInfo/endTime eq DateTime'Fri, 02 Jan 2026 03:04:05 GMT'",
        "executionInfo/startTime ne DateTime'2026-01-02T03:04:05Z'",
        "id eq 'x' or state eq 'completed'",
        "id eq 'x' and id eq 'y' or state eq 'completed'",
        "(id eq 'x' or state eq 'completed') and executionInfo/exitCode eq 2",
    ],
)
def test_true(text):
    assert odata.parse(text, odata.TASKS)(TASK)


@pytest.mark.parametrize(
    "text",
    [
        "state eq 'active'",
        "startswith(id,'lign')",
        "executionInfo/exitCode lt 2",
        "stateTransitionTime gt DateTime'2026-01-02T03:04:05.5Z'",
        "executionInfo/startTime eq DateTime'2026-01-02T03:04:05Z'",
        "executionInfo/startTime lt DateTime'2030-01-02T03:04:05Z'",
        "id eq 'x' and (id eq 'y' or state eq 'completed')",
        "id eq 'it''s'",
    ],
)
def test_false(text):
    assert not odata.parse(text, odata.TASKS)(TASK)


def test_a_quote_is_doubled():
    assert odata.parse("id eq 'it''s'", odata.TASKS)({"id": "It's"})


def test_flags():
    assert odata.parse("enableAutoScale eq false", odata.POOLS)({"enableAutoScale": False})


def test_a_resource_without_the_parent_of_a_property():
    assert not odata.parse("executionInfo/exitCode eq 0", odata.TASKS)({"id": "a"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a name is missing"),
        ("state", "a name is missing"),
        ("state eq", "a value is missing"),
        ("State eq 'a'", "cannot be filtered on"),
        ("commandLine eq 'a'", "cannot be filtered on"),
        ("state ne 'active'", "cannot be used with"),
        ("state like 'active'", "cannot be used with"),
        ("startswith(state,'a')", "cannot be used with"),
        ("startswith(id 'a')", "',' is missing"),
        ("(id eq 'a'", "')' is missing"),
        ("id eq 'a' id eq 'b'", "unexpected"),
        ("id eq 5", "is not a value"),
        ("executionInfo/exitCode eq 'a'", "is not a value"),
        ("creationTime gt DateTime'soon'", "is not a value"),
        ("not id eq 'a'", "cannot be filtered on"),
        ("id eq 'a", "unexpected text at column 6"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(odata.FilterError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        odata.parse(text, odata.TASKS)


@pytest.mark.parametrize("text", ["(" * 33 + "id eq 'x'" + ")" * 33, "executionInfo/exitCode eq " + "9" * 5000])
def test_what_is_too_deep_or_too_long_is_refused(text):
    with pytest.raises(odata.FilterError):
        odata.parse(text, odata.TASKS)


def test_parentheses_side_by_side_are_not_deep():
    text = " or ".join(["(id eq 'Align-7')"] * 40)
    assert odata.parse(text, odata.TASKS)(TASK)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (odata.NODES, "startTaskInfo/exitCode ne 0 and startTaskInfo/result eq 'failure'"),
        (odata.JOB_SCHEDULES, "schedule/doNotRunUntil lt DateTime'2030-01-01T00:00:00Z'"),
        (odata.JOB_TASK_STATUSES, "jobReleaseTaskExecutionInfo/state eq 'completed'"),
        (odata.NODE_COUNTS, "poolId eq 'p'"),
        (odata.USAGE_METRICS, "startswith(poolId,'p')"),
        (odata.SUPPORTED_IMAGES, "osType eq 'linux' and verificationType ne 'unverified'"),
    ],
)
def test_what_can_be_filtered_on(properties, text):
    assert odata.parse(text, properties)({}) in (True, False)


def test_jobs_of_a_schedule_cannot_be_filtered_by_id():
    with pytest.raises(odata.FilterError, match="'id' cannot be filtered on"):
        odata.parse("id eq 'j'", odata.JOBS_OF_SCHEDULE)
