"""Files of a task."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from .conftest import code_of


@pytest.fixture
def done(bench):
    bench.add(
        "t", "echo hello; mkdir -p 'a b/c'; printf 0123456789 > 'a b/c/d.txt'; ln -s /etc/hostname out; : > empty"
    )
    bench.wait_for("t")
    return bench


def test_list(done):
    top = list(done.batch.list_task_files(done.id, "t"))
    assert [item.name for item in top] == ["stderr.txt", "stdout.txt", "wd"]
    assert [item.is_directory for item in top] == [False, False, True]
    assert top[1].url.endswith(f"/jobs/{done.id}/tasks/t/files/stdout.txt")
    properties = top[1].properties
    assert (properties.content_length, properties.content_type) == (6, "text/plain")
    assert properties.file_mode.startswith("0o100")
    deep = [item.name for item in done.batch.list_task_files(done.id, "t", recursive=True)]
    assert "wd/a b/c/d.txt" in deep
    some = done.batch.list_task_files(done.id, "t", filter="startswith(name,'std')", max_results=1)
    assert [item.name for item in some] == ["stderr.txt", "stdout.txt"]


def test_download(done):
    assert b"".join(done.batch.download_task_file(done.id, "t", "stdout.txt")) == b"hello\n"
    assert b"".join(done.batch.download_task_file(done.id, "t", "wd/a b/c/d.txt")) == b"0123456789"
    assert b"".join(done.batch.download_task_file(done.id, "t", "wd/empty")) == b""


@pytest.mark.parametrize(
    ("wanted", "content"),
    [("bytes=0-2", b"012"), ("bytes=7-", b"789"), ("bytes=8-99", b"89"), ("bytes=3-3", b"3")],
)
def test_a_range_is_answered_with_200(done, wanted, content):
    response = []
    parts = done.batch.download_task_file(
        done.id, "t", "wd/a b/c/d.txt", ocp_range=wanted, raw_response_hook=response.append
    )
    assert b"".join(parts) == content
    assert response[0].http_response.status_code == 200


def test_a_range_behind_the_end_is_refused(done):
    with pytest.raises(HttpResponseError) as refused:
        done.batch.download_task_file(done.id, "t", "wd/a b/c/d.txt", ocp_range="bytes=10-12")
    refused.value.response.close()  # a refused download is left open by the SDK
    assert refused.value.status_code == 416


def test_head(done):
    found = done.batch.get_task_file_properties(done.id, "t", "wd/a b/c/d.txt")
    assert found.content_length == 10
    assert found.is_directory is False
    assert found.file_mode.startswith("0o100")
    assert found.url == (
        f"{done.batch._config.endpoint}/jobs/{done.id}/tasks/t/files/wd/a%20b/c/d.txt".replace("://", "%3A%2F%2F")
        .replace("/", "%2F")
        .replace("%20", "%2520")
        .replace("127.0.0.1:", "127.0.0.1%3A")
    )


def test_plain_slashes_are_accepted(done):
    path = f"/jobs/{done.id}/tasks/t/files/wd/a%20b/c/d.txt?api-version=2025-06-01"
    assert done.batch.send_request(HttpRequest("GET", path)).content == b"0123456789"


@pytest.mark.parametrize("path", ["nothing.txt", "wd", "../t/stdout.txt", "wd/out", "/etc/hostname", "wd/../../../x"])
def test_what_is_no_file_of_the_task(done, path):
    with pytest.raises(ResourceNotFoundError) as missing:
        done.batch.download_task_file(done.id, "t", path)
    missing.value.response.close()  # a refused download is left open by the SDK
    assert missing.value.reason == "The specified file does not exist."


def test_files_of_a_task_that_never_ran(bench):
    bench.add("t", required_slots=3)
    with pytest.raises(ResourceExistsError) as refused:
        list(bench.batch.list_task_files(bench.id, "t"))
    assert code_of(refused) == "TaskFilesUnavailable"


def test_a_growing_file_can_be_read(bench, tmp_path):
    from .conftest import wait_until

    gate = tmp_path / "gate"
    bench.add("t", f"echo first; until [ -e {gate} ]; do sleep 0.02; done; echo second")
    bench.wait_for("t", "running")
    wait_until(lambda: bench.batch.get_task_file_properties(bench.id, "t", "stdout.txt").content_length == 6)
    assert b"".join(bench.batch.download_task_file(bench.id, "t", "stdout.txt")) == b"first\n"
    gate.touch()
    bench.wait_for("t")
    rest = bench.batch.download_task_file(bench.id, "t", "stdout.txt", ocp_range="bytes=6-")
    assert b"".join(rest) == b"second\n"


def test_conditions_on_the_time_of_a_file(done):
    def get(method, name, moment):
        path = f"/jobs/{done.id}/tasks/t/files/stdout.txt?api-version=2025-06-01"
        return done.batch.send_request(HttpRequest(method, path, headers={name: moment})).status_code

    past, future = "Mon, 06 Jan 2025 10:00:00 GMT", "Mon, 06 Jan 2125 10:00:00 GMT"
    for method in ("GET", "HEAD"):
        assert get(method, "If-Modified-Since", past) == 200
        assert get(method, "If-Unmodified-Since", future) == 200
        for name, moment, status in (("If-Modified-Since", future, 304), ("If-Unmodified-Since", past, 412)):
            with pytest.raises(HttpResponseError) as refused:
                get(method, name, moment)
            assert refused.value.status_code == status


def test_delete(done):
    done.batch.delete_task_file(done.id, "t", "wd/empty")
    with pytest.raises(ResourceNotFoundError) as missing:
        done.batch.delete_task_file(done.id, "t", "wd/empty")
    assert code_of(missing) == "FileNotFound"
    with pytest.raises(ResourceExistsError) as refused:
        done.batch.delete_task_file(done.id, "t", "wd/a b")
    assert code_of(refused) == "OperationInvalidForCurrentState"
    done.batch.delete_task_file(done.id, "t", "wd/a b", recursive=True)
    left = [item.name for item in done.batch.list_task_files(done.id, "t", recursive=True)]
    assert "wd/a b" not in left


def test_properties_of_a_directory(done):
    found = done.batch.get_task_file_properties(done.id, "t", "wd")
    assert (found.is_directory, found.content_length) == (True, 0)
