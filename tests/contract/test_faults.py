"""Every fault that can be injected, as a client of the real SDK meets it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceResponseError

from snakemake_executor_azurebatch.emulator.control import Control, ControlError
from snakemake_executor_azurebatch.emulator.running import RunningService
from snakemake_executor_azurebatch.emulator.runtime import Timings

from .conftest import Bench, code_of, pool, running_service, values_of, wait_until


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A service of its own: faults would disturb the others' tests."""
    quick = Timings(boot_s=0.05, settle_s=0.03, all_complete_s=0.1)
    with running_service(tmp_path_factory.mktemp("faults"), quick) as running:
        yield running


@pytest.fixture(scope="module")
def batch(local):
    with local.client() as client:
        yield client


@pytest.fixture
def control(local):
    control = Control(RunningService(0, local.url, local.config.account, "", local.config.state_dir))
    yield control
    control.clear_faults()


def new_job(name):
    return m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name))


# -- requests -------------------------------------------------------------------------------------


def test_latency(batch, control):
    control.add_fault("latency", route="/jobs", seconds=0.5, count=1)
    began = time.monotonic()
    list(batch.list_jobs())
    assert time.monotonic() - began >= 0.5
    assert control.faults() == []  # its count is used up


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (503, "ServerBusy")])
def test_throttling_tells_when_to_come_back(batch, control, status, code):
    control.add_fault("throttle", status=status, seconds=7)
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_pools())
    assert (refused.value.status_code, code_of(refused)) == (status, code)
    assert refused.value.response.headers["Retry-After"] == "7"


def test_a_client_that_retries_comes_through(local, control):
    control.add_fault("throttle", method="POST", seconds=0, count=2)
    with local.client() as client:
        client._config.retry_policy.total_retries = 3
        client.create_job(new_job("throttled"))
    assert control.faults() == []


def test_an_internal_error(batch, control, name):
    control.add_fault("error", method="POST", route="/jobs")
    with pytest.raises(HttpResponseError) as refused:
        batch.create_job(new_job(name))
    assert (refused.value.status_code, code_of(refused)) == (500, "InternalError")
    control.clear_faults()
    batch.create_job(new_job(name))  # it was not made before


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "OperationInvalidForCurrentState", "is not valid for the current state of the resource"),
        ({"code": "PoolBeingDeleted"}, "PoolBeingDeleted", "has been marked for deletion"),
        ({"code": "OutOfTheBlue"}, "OutOfTheBlue", "The request was refused."),
    ],
)
def test_a_refusal(batch, control, name, given, code, words):
    control.add_fault("refuse", method="POST", route="/jobs", **given)
    with pytest.raises(HttpResponseError, match=words) as refused:
        batch.create_job(new_job(name))
    assert (refused.value.status_code, code_of(refused)) == (409, code)
    control.clear_faults()
    batch.create_job(new_job(name))  # it was not made before


def test_a_connection_that_breaks_before_anything_was_done(batch, control, name):
    control.add_fault("reset", method="POST", count=1)
    with pytest.raises(ServiceResponseError, match="Connection aborted"):
        batch.create_job(new_job(name))
    batch.create_job(new_job(name))


def test_an_answer_that_is_lost(batch, control, name):
    control.add_fault("lost-answer", method="POST", count=1)
    with pytest.raises(ServiceResponseError, match="Connection aborted"):
        batch.create_job(new_job(name))
    with pytest.raises(ResourceExistsError) as there:
        batch.create_job(new_job(name))
    assert code_of(there) == "JobExists"


def test_a_rate_is_random_and_the_same_every_time(batch, control):
    seen = []
    for _ in range(2):
        control.add_fault("error", rate=0.4, seed=3)
        statuses = []
        for _ in range(30):
            try:
                list(batch.list_pools())
                statuses.append(200)
            except HttpResponseError as error:
                statuses.append(error.status_code)
        seen.append(statuses)
        control.clear_faults()
    assert seen[0] == seen[1]
    assert 4 <= seen[0].count(500) <= 20


def test_a_route_that_does_not_fit_is_left_alone(batch, control):
    control.add_fault("error", route="/jobs/{jobId}/*")
    assert list(batch.list_pools()) == []


def test_a_clock_that_is_wrong(batch, control):
    control.add_fault("clock-skew", seconds=3600)
    with pytest.raises(HttpResponseError) as refused:
        list(batch.list_pools())
    assert (refused.value.status_code, code_of(refused)) == (403, "AuthenticationFailed")
    assert "15 minutes" in values_of(refused)["AuthenticationErrorDetail"]
    assert control.faults()[0]["kind"] == "clock-skew"  # the control itself can still mend it


# -- nodes ----------------------------------------------------------------------------------------


@pytest.fixture
def spot(batch, name):
    """A pool with one low-priority node, and a running task on it."""
    batch.create_pool(pool(name, nodes=0, target_low_priority_nodes=1))
    batch.create_job(new_job(name))
    bench = Bench(batch, name)
    bench.add("t", "sleep 600")
    bench.wait_for("t", "running")
    yield bench
    batch.begin_delete_pool(name, polling_interval=0.02).result()
    batch.begin_delete_job(name, polling_interval=0.02).result()


def node_of(bench):
    return next(iter(bench.batch.list_nodes(bench.id)))


@pytest.mark.parametrize(("kind", "state"), [("preempt", "preempted"), ("kill", "unknown"), ("unusable", "unusable")])
def test_a_node_that_is_struck_gives_its_task_back(spot, control, kind, state):
    first = node_of(spot)
    struck = control.add_fault(kind, pool=spot.id)["nodes"]
    assert [(node["id"], node["state"]) for node in struck] == [(first.id, state)]
    wait_until(lambda: spot.batch.get_task(spot.id, "t").execution_info.requeue_count == 1)
    if kind == "unusable":
        assert spot.state("t") == "active"
        assert node_of(spot).errors[0].code == "Unknown"
    else:
        spot.wait_for("t", "running")
        assert (node_of(spot).id == first.id) == (kind == "preempt")
    assert control.faults() == []


def test_dedicated_nodes_are_not_preempted(batch, control, name):
    batch.create_pool(pool(name))
    wait_until(lambda: [node["state"] for node in control.nodes() if node["pool"] == name] == ["idle"])
    with pytest.raises(ControlError, match="preempt: there is no such node"):
        control.add_fault("preempt", pool=name)


def test_a_start_task_that_fails(batch, control, name):
    control.add_fault("start-task-failure", pool=name)
    start_task = m.BatchStartTask(command_line="true", wait_for_success=True)
    batch.create_pool(pool(name, start_task=start_task))
    wait_until(lambda: [node.state for node in batch.list_nodes(name)] == ["starttaskfailed"])
    info = next(iter(batch.list_nodes(name))).start_task_info
    assert (info.exit_code, info.result, info.failure_info.code) == (1, "failure", "FailureExitCode")


@pytest.mark.parametrize(
    ("kind", "code"), [("allocation-failure", "AllocationFailed"), ("quota", "AccountCoreQuotaReached")]
)
def test_nodes_that_cannot_be_had(batch, control, name, kind, code):
    control.add_fault(kind, pool=name, limit=1)
    batch.create_pool(pool(name, nodes=3))
    wait_until(lambda: batch.get_pool(name).allocation_state == "steady")
    found = batch.get_pool(name)
    assert [error.code for error in found.resize_errors] == [code]
    assert (found.current_dedicated_nodes, found.target_dedicated_nodes) == (1, 3)


@pytest.fixture
def web_file():
    """URL of a file that can be downloaded."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"x\n")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("kind", "code"), [("disk-full", "DiskFull"), ("blob-unreachable", "BlobDownloadTimedOut")])
def test_a_node_that_cannot_stage_in(bench, control, web_file, kind, code):
    control.add_fault(kind, pool=bench.id)
    bench.add("t", resource_files=[m.ResourceFile(http_url=web_file, file_path="in.txt")])
    failure = bench.wait_for("t").execution_info.failure_info
    assert failure.code == code
    control.clear_faults()
    bench.add("mended", "cat in.txt", resource_files=[m.ResourceFile(http_url=web_file, file_path="in.txt")])
    assert bench.wait_for("mended").execution_info.result == "success"


# -- the admin operations themselves ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "flood"}, "kind is one of latency, throttle"),
        ({"kind": "reset", "pool": "p"}, "reset takes endpoint, method, route, rate, count, seed, not pool"),
        ({"kind": "error", "rate": 0}, "rate is greater than 0 and at most 1"),
        ({"kind": "throttle", "status": 418}, "status is 429 or 503"),
        ({"kind": "latency", "seconds": "long"}, "seconds is a float, not 'long'"),
        ({"kind": "kill", "pool": "nowhere"}, "kill: there is no such node"),
    ],
)
def test_a_wrong_fault_is_refused_with_the_reason(control, fault, reason):
    with pytest.raises(ControlError) as refused:
        control.add_fault(**fault)
    assert reason in str(refused.value)


def test_removing_one_fault(control):
    first = control.add_fault("latency", seconds=0)["id"]
    second = control.add_fault("error", route="/none")["id"]
    control.remove_fault(first)
    assert [fault["id"] for fault in control.faults()] == [second]
    with pytest.raises(ControlError, match="does not exist"):
        control.remove_fault(first)


def test_the_admin_operations_need_the_key(local):
    ask = "import sys, urllib.request as u; u.urlopen(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", ask, f"{local.url}/_admin/faults"], capture_output=True, text=True, check=False
    )
    assert "HTTP Error 403" in done.stderr


def test_the_clock_can_be_advanced(bench, control):
    hour = m.BatchJobConstraints(max_wall_clock_time="PT1H")
    bench.batch.create_job(
        m.BatchJobCreateOptions(id=f"{bench.id}-h", pool_info=m.BatchPoolInfo(pool_id=bench.id), constraints=hour)
    )
    control.clock(advanceSeconds=3601)
    wait_until(lambda: bench.batch.get_job(f"{bench.id}-h").state == "completed")
    assert bench.batch.get_job(f"{bench.id}-h").execution_info.termination_reason == "MaxWallClockTimeExpiry"
    with pytest.raises(ControlError, match="does not go back"):
        control.clock(advanceSeconds=-1)
    assert control.clock(speed=2)["speed"] == 2
    control.clock(speed=1)
