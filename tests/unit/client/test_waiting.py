"""Why tasks wait, in words."""

import pytest
from azure.batch import models as m

from snakemake_executor_azurebatch.run.waiting import (
    MOST_TROUBLES,
    Waiting,
    explain_waiting,
    node_troubles,
    resize_errors_of,
    scaling_error_of,
)


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        (Waiting("p", 3, 1, {"running": 1}, False), None),
        (Waiting("p", 0, 0, {}, False), None),
        (Waiting("p", 1, 0, {}, True), "1 task waits for a node of pool p: it is being resized and has no nodes yet."),
        (Waiting("p", 2, 0, {}, False), "2 tasks wait for a node of pool p: it has no nodes."),
        (
            Waiting("p", 2, 0, {"unusable": 2, "starting": 1}, False, ("ContainerInvalidImage: no such image",)),
            "2 tasks wait for a node of pool p: 1 starting, 2 unusable.\n  ContainerInvalidImage: no such image",
        ),
    ],
)
def test_waiting_in_words(waiting, text):
    assert explain_waiting(waiting) == text


def pairs(**details):
    return [m.NameValuePair(name=name, value=value) for name, value in details.items()]


def test_the_services_own_words_about_a_node_are_told():
    """The message of a code is always the same; what is wrong is in the details."""
    node = m.BatchNode(
        errors=[
            m.BatchNodeError(
                code="ContainerInvalidImage",
                message="The specified container image is invalid",
                error_details=pairs(ContainerImage="one:1", Message="manifest unknown:\n  no such tag"),
            ),
            m.BatchNodeError(code="DiskFull", message="There is not enough disk space on the node"),
        ],
        start_task_info=m.BatchStartTaskInfo(
            failure_info=m.BatchTaskFailureInfo(
                code="BlobNotFound",
                message="One of the specified Azure Blob(s) is not found",
                details=pairs(BlobUrl="https://a.blob.core.windows.net/c/f?sig=secret", FilePath=None),
            )
        ),
    )
    assert list(node_troubles(node)) == [
        (
            "ContainerInvalidImage: The specified container image is invalid "
            "(ContainerImage: one:1; Message: manifest unknown: no such tag)"
        ),
        "DiskFull: There is not enough disk space on the node",
        (
            "start task: BlobNotFound: One of the specified Azure Blob(s) is not found "
            "(BlobUrl: https://a.blob.core.windows.net/c/f)"
        ),
    ]


def test_the_services_own_words_about_a_resize_and_a_formula_are_told():
    resize = m.ResizeError(code="AllocationFailed", message="No nodes", error_values=pairs(Reason="ZonalAllocation"))
    wrong = m.AutoScaleRunError(code="FormulaError", message="It failed", error_values=pairs(Message="Line 1, Col 1"))
    pool = m.BatchPool(resize_errors=[resize], auto_scale_run=m.AutoScaleRun(error=wrong))
    assert resize_errors_of(pool, None) == [
        ("AllocationFailed", "AllocationFailed: No nodes (Reason: ZonalAllocation)")
    ]
    assert scaling_error_of(pool) == "FormulaError: It failed (Message: Line 1, Col 1)"


def test_not_every_node_of_many_is_told():
    waiting = Waiting("p", 1, 0, {"unusable": 90}, False, tuple(f"DiskFull: on node {n}" for n in range(90)))
    assert len(str(explain_waiting(waiting)).splitlines()) == 1 + MOST_TROUBLES
