"""How a path finds its operation."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.routes import ROUTES, find, template


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/pools", "/pools", {}),
        ("/pools/", "/pools", {}),
        ("/jobs/s:job-1", "/jobs/{jobId}", {"jobId": "s:job-1"}),
        (
            "/jobs/j/tasks/t/files/wd%2Fa%20b.txt",
            "/jobs/{jobId}/tasks/{taskId}/files/{filePath}",
            {"jobId": "j", "taskId": "t", "filePath": "wd/a b.txt"},
        ),
        (
            "/jobs/j/tasks/t/files/wd/a.txt",
            "/jobs/{jobId}/tasks/{taskId}/files/{filePath}",
            {"jobId": "j", "taskId": "t", "filePath": "wd/a.txt"},
        ),
        ("/jobs/j/tasks/t/files", "/jobs/{jobId}/tasks/{taskId}/files", {"jobId": "j", "taskId": "t"}),
    ],
)
def test_find(path, template, params):
    route, found = find("GET", path)
    assert (route.template, found) == (template, params)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/nothing", 404), ("PUT", "/pools", 405), ("GET", "/pools/p/resize", 405)],
)
def test_refused(method, path, status):
    with pytest.raises(ServiceFault) as refused:
        find(method, path)
    assert refused.value.fault.status == status


def test_every_operation_is_listed_once():
    keys = [(route.method, route.template) for route in ROUTES]
    assert len(keys) == len(set(keys))
    assert len(keys) == 78


def test_templates_for_the_log():
    assert template("DELETE", "/jobs/my-job") == "/jobs/{jobId}"
    assert template("GET", "/nothing") == ""
