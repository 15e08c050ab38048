"""The local service answers recorded requests as the real service did.

Same status, same names of headers, same members with the same kinds of values, same words where the values
are words of the service. Left out are the headers in ``exchanges.TRANSPORT``. What else differs is in the
tables below, with the reason; an entry that has become untrue fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from snakemake_executor_azurebatch.emulator.runtime import Timings

from . import exchanges
from .conftest import PATIENCE_S, running_service
from .exchanges import Exchange
from .raw import RawAnswer, RawClient

EXCHANGES = exchanges.load()
if not EXCHANGES and "SHARED_REFERENCE" in os.environ:
    raise RuntimeError(f"SHARED_REFERENCE names a folder without recorded exchanges: {exchanges.FOLDER}")
pytestmark = pytest.mark.skipif(not EXCHANGES, reason=f"no recorded exchanges in {exchanges.FOLDER}")

_NEVER_S = 1e6
_QUICK = Timings(boot_s=0.01, settle_s=0.01, all_complete_s=0.05)
_IMAGE = {"publisher": "microsoftwindowsserver", "offer": "windowsserver", "sku": "2022-Datacenter"}
_MACHINE = {"imageReference": _IMAGE, "nodeAgentSKUId": "batch.node.windows amd64"}
_POOL = {"vmSize": "STANDARD_D1_v2", "virtualMachineConfiguration": _MACHINE}
_NODE_USER = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}


class _NotEmulated(Exception):
    """A prerequisite is refused with 501."""

    def __init__(self, answer: RawAnswer) -> None:
        self.answer = answer
        super().__init__(answer.reason)


@dataclass(frozen=True)
class Stage:
    """A service in which a request's prerequisites can be made."""

    client: RawClient

    def make(self, target: str, body: Any) -> None:
        """POST what must succeed."""
        answer = self.client.send("POST", target, body)
        if answer.status == 501:
            raise _NotEmulated(answer)
        assert answer.status in (200, 201, 202, 204), answer.content

    def read(self, target: str) -> Any:
        """GET what must be there."""
        answer = self.client.send("GET", target)
        assert answer.status == 200, answer.content
        return answer.json()

    def until(self, target: str, holds: Callable[[Any], object]) -> None:
        """Ask again until it holds."""
        give_up = time.monotonic() + PATIENCE_S
        while not holds(body := self.read(target)):
            assert time.monotonic() < give_up, body
            time.sleep(0.01)

    def pool(self, pool_id: str = "p", **members: Any) -> None:
        """A pool as it was in most recordings."""
        self.make("/pools", {"id": pool_id, **_POOL, **members})

    def steady(self, **members: Any) -> None:
        """Pool ``p``, once its nodes are idle."""
        self.pool(**members)
        self.until("/pools/p", lambda pool: pool["allocationState"] == "steady")
        self.until("/pools/p/nodes", lambda page: all(node["state"] == "idle" for node in page["value"]))

    def job(self, job_id: str = "j", **members: Any) -> None:
        """A job on pool ``p``."""
        self.make("/jobs", {"id": job_id, "poolInfo": {"poolId": "p"}, **members})

    def task(self, task_id: str, command: str = "true", job_id: str = "j", **members: Any) -> None:
        """A task, with a command that this machine has."""
        self.make(f"/jobs/{job_id}/tasks", {"id": task_id, "commandLine": command, **members})

    def finished(self, task_id: str, command: str = "true", **members: Any) -> None:
        """A task of job ``j`` that has ended on a node of pool ``p``."""
        self.steady(targetDedicatedNodes=1)
        self.job()
        self.task(task_id, command, **members)
        self.until(f"/jobs/j/tasks/{task_id}", lambda task: task["state"] == "completed")

    def node(self) -> str:
        """Id of the first node of pool ``p``; ``n`` where there is none."""
        answer = self.client.send("GET", "/pools/p/nodes")
        nodes = answer.json()["value"] if answer.status == 200 else []
        return str(nodes[0]["id"]) if nodes else "n"


def _started(stage: Stage, **members: Any) -> None:
    start = {"commandLine": "true", "userIdentity": _NODE_USER, "maxTaskRetryCount": 0, "waitForSuccess": True}
    stage.steady(targetDedicatedNodes=1, startTask=start, **members)


def _five_ended(stage: Stage) -> None:
    stage.finished("t0")
    for number in range(1, 5):
        stage.task(f"t{number}", "true" if number == 1 else "false")
    stage.until("/jobs/j/taskcounts", lambda counts: counts["taskCounts"]["completed"] == 5)


def _with_shared_file(stage: Stage) -> None:
    stage.finished("t", "/bin/sh -c 'printf done > $AZ_BATCH_NODE_SHARED_DIR/test.txt'")


def _full_job(stage: Stage) -> None:
    prepare = {"id": "jobpreparation", "commandLine": "cmd"}
    auto = {"poolLifetimeOption": "job", "pool": {"vmSize": "standard_d2_v2"}}
    stage.make(
        "/jobs",
        {
            "id": "j1",
            "priority": 900,
            "constraints": {"maxTaskRetryCount": 3},
            "jobPreparationTask": prepare,
            "jobReleaseTask": {"commandLine": "cmd"},
            "poolInfo": {"autoPoolSpecification": auto},
        },
    )


def _schedule(stage: Stage) -> None:
    stage.pool()
    schedule = {"doNotRunAfter": "2126-02-04T00:00:21.536Z", "recurrenceInterval": "PT2M"}
    specification = {"displayName": "JobSchedule-1", "poolInfo": {"poolId": "p"}}
    stage.make("/jobschedules", {"id": "s", "schedule": schedule, "jobSpecification": specification})


def _autoscaled(stage: Stage) -> None:
    stage.steady()
    stage.make("/pools/p/enableautoscale", {"autoScaleFormula": "$TargetDedicatedNodes=2"})


def _reactivated(stage: Stage) -> None:
    stage.pool()
    stage.job()
    stage.task("t1", "cmd")
    stage.make("/jobs/j/tasks/t1/terminate", None)
    stage.make("/jobs/j/tasks/t1/reactivate", None)


def _waiting_task(stage: Stage) -> None:
    stage.pool()
    stage.job()
    stage.task("t1", "cmd")


def _terminated_task(stage: Stage) -> None:
    _waiting_task(stage)
    stage.make("/jobs/j/tasks/t1/terminate", None)


def _prepared_job(stage: Stage) -> None:
    stage.pool()
    stage.job("j1", jobPreparationTask={"commandLine": "cmd"})


def _creating(stage: Stage) -> None:
    stage.pool(targetDedicatedNodes=1)
    stage.until("/pools/p/nodes", lambda page: page["value"])


def _used_for_an_hour(stage: Stage) -> None:
    stage.steady(targetDedicatedNodes=1)
    stage.make("/_admin/clock", {"advanceSeconds": 3600})


def _resizing(stage: Stage) -> None:
    stage.pool(targetLowPriorityNodes=2)


def _deleting(stage: Stage) -> None:
    stage.pool("AddTaskCollection", targetDedicatedNodes=0)
    assert stage.client.send("DELETE", "/pools/AddTaskCollection").status == 202


def _pool_and_job(stage: Stage) -> None:
    stage.pool()
    stage.job()


def _pool_and_j1(stage: Stage) -> None:
    stage.pool()
    stage.job("j1")


def _two_pools(stage: Stage) -> None:
    stage.pool("batch_ade_1")
    stage.pool("batch_ade_2")


#: What must be there before the request; nothing for exchanges that are not named.
PREPARATIONS: dict[str, Callable[[Stage], None]] = {
    "AccountListPoolNodeCounts": lambda stage: stage.steady(targetDedicatedNodes=1),
    "FileGetNode_linux": _with_shared_file,
    "FileHeadTask_windows": lambda stage: stage.finished("t", "printf 'hello, world\\n'"),
    "FileListNode_linux": _with_shared_file,
    "FileListTask": lambda stage: stage.finished("t", "printf 'hello, world\\n'"),
    "JobCreate_Exists": lambda stage: stage.job("batch_test_job_"),
    "JobDisable": _pool_and_j1,
    "JobGet_defaults_filled": _full_job,
    "JobPrepRelease_empty": _prepared_job,
    "JobPrepRelease_none": _pool_and_job,
    "JobScheduleGet": _schedule,
    "JobTaskCounts": _five_ended,
    "JobTerminate_emptybody": _pool_and_j1,
    "NodeDeallocate": lambda stage: stage.steady(targetDedicatedNodes=1),
    "NodeList_creating": _creating,
    "NodeList_idle": _started,
    "NodeRemoteLoginSettings": lambda stage: stage.steady(targetDedicatedNodes=1),
    "NodeUploadLogs": lambda stage: stage.steady(targetDedicatedNodes=1),
    "PoolCreate_Exists": lambda stage: stage.pool("ncj-ubuntu1604"),
    "PoolDelete": lambda stage: stage.pool(),
    "PoolDisableAutoscale": _autoscaled,
    "PoolEnableAutoscale": lambda stage: stage.steady(),
    "PoolEvaluateAutoscale": _autoscaled,
    "PoolEvaluateAutoscale_error_is_200": _autoscaled,
    "PoolGet_deleting": _deleting,
    "PoolGet_resizing": lambda stage: stage.pool("AddTaskCollection"),
    "PoolGet_steady_same_etag": lambda stage: _steady_named(stage, "AddTaskCollection"),
    "PoolList_paging": _two_pools,
    "PoolUsageMetrics": _used_for_an_hour,
    "PoolResize": lambda stage: stage.steady(),
    "PoolStopResize_then_get": _resizing,
    "TaskAddCollection": _pool_and_job,
    "TaskCreate": _pool_and_job,
    "TaskGet_active": _waiting_task,
    "TaskGet_after_reactivate": _reactivated,
    "TaskGet_completed_same_etag": lambda stage: stage.finished("t1"),
    "TaskReactivate": _terminated_task,
    "TaskTerminate": _waiting_task,
}


def _steady_named(stage: Stage, pool_id: str) -> None:
    stage.pool(pool_id)
    stage.until(f"/pools/{pool_id}", lambda pool: pool["allocationState"] == "steady")


#: Exchanges in the midst of a transition: there it does not end.
TIMINGS = {
    "NodeList_creating": Timings(boot_s=_NEVER_S, settle_s=0.01),
    "PoolGet_deleting": Timings(settle_s=_NEVER_S),
    "PoolGet_resizing": Timings(settle_s=_NEVER_S),
    "PoolStopResize_then_get": Timings(boot_s=_NEVER_S, settle_s=_NEVER_S),
}
#: Members of the request's body that the recording left out, and without which it means nothing.
LEFT_OUT: dict[str, dict[str, Any]] = {
    "JobCreate": {
        "poolInfo": {"autoPoolSpecification": {"poolLifetimeOption": "job", "pool": {"vmSize": "standard_d2_v2"}}}
    },
    "JobCreate_Exists": {"poolInfo": {"poolId": "p"}},
    "PoolCreate_Exists": _POOL,
    "PoolCreate_InvalidPropertyValue": _POOL,
}
#: Recordings that kept only some of the headers: other recordings of the same operation have more.
FEWER_HEADERS = frozenset({"PoolEvaluateAutoscale_error_is_200", "TaskGet_after_reactivate"})
#: Recordings that kept only some of the members.
FEWER_MEMBERS = frozenset({"PoolList_paging"})
#: (header or fact of the recording, what it is here).
_WINDOWS = {("ocp-creation-time", "ocp-batch-file-mode")}
DIFFERENCES: dict[str, set[tuple[str, str]]] = {
    # that node ran Windows
    "FileHeadTask_windows": _WINDOWS,
    "FileListTask": {(".value[].properties.creationTime: time", ".value[].properties.fileMode: file mode")},
}
#: Answered with 501 here, or what they presuppose is.
NOT_EMULATED: frozenset[str] = frozenset()


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A service of the exchange's own: the ids in its URLs are taken as they are."""
    name = request.getfixturevalue("exchange").name
    with running_service(tmp_path_factory.mktemp("recorded"), TIMINGS.get(name, _QUICK)) as running:
        client = RawClient(running.url)
        yield Stage(client)
        client.close()


def _replay(stage: Stage, exchange: Exchange) -> RawAnswer:
    try:
        PREPARATIONS.get(exchange.name, lambda stage: None)(stage)
    except _NotEmulated as refusal:
        return refusal.answer
    target = exchange.target.replace("/nodes/n/", f"/nodes/{quote(stage.node())}/")
    body = exchange.body
    if exchange.name in LEFT_OUT:
        body = {**(body or {}), **LEFT_OUT[exchange.name]}
    return stage.client.send(exchange.method, target, body)


@pytest.mark.parametrize("exchange", [pytest.param(found, id=found.name) for found in EXCHANGES])
def test_the_answer_is_as_recorded(stage: Stage, exchange: Exchange):
    answer = _replay(stage, exchange)
    if exchange.name in NOT_EMULATED:
        assert answer.status == 501, "this is emulated now: take it off the list"
        return
    assert answer.status == exchange.status, answer.content
    _compare_headers(exchange, answer)
    if exchange.name == "PoolStopResize_then_get":
        expected = exchange.answer["next GET shows"]
        assert {name: stage.read("/pools/p")[name] for name in expected} == expected
    elif exchange.name == "FileGetNode_linux":
        assert answer.content == b"done"
    elif exchange.answer is None:
        assert answer.content == b""
    else:
        _compare_bodies(exchange, answer.json())


def _compare_headers(exchange: Exchange, answer: RawAnswer) -> None:
    given = frozenset(name.lower() for name in answer.headers) - exchanges.TRANSPORT
    expected = _as_here(exchange, exchange.headers)
    if exchange.name in FEWER_HEADERS:
        assert expected <= given
    else:
        assert sorted(given) == sorted(expected)


def _compare_bodies(exchange: Exchange, body: Any) -> None:
    if exchange.name == "PoolGet_deleting":  # one item of a listing
        body = body["value"][0]
    given, expected = exchanges.facts(body), _as_here(exchange, exchanges.facts(exchange.answer))
    if exchange.name not in FEWER_MEMBERS:
        assert sorted(given - expected) == []
    assert sorted(expected - given) == []
    if "code" in exchange.answer:
        assert _sentence(body) == _sentence(exchange.answer)


def _as_here(exchange: Exchange, names: frozenset[str]) -> frozenset[str]:
    changed = dict(DIFFERENCES.get(exchange.name, ()))
    return frozenset(changed.get(name, name) for name in names)


def _sentence(body: Any) -> str:
    return str(body["message"]["value"]).partition("\n")[0]


def test_every_entry_of_the_tables_has_its_exchange():
    names = {exchange.name for exchange in EXCHANGES}
    for table in (PREPARATIONS, TIMINGS, LEFT_OUT, FEWER_HEADERS, FEWER_MEMBERS, DIFFERENCES, NOT_EMULATED):
        assert set(table) <= names


@pytest.mark.parametrize("exchange", [found for found in EXCHANGES if found.name == "PoolGet_NotFound"])
def test_the_reason_phrase_repeats_the_sentence(stage: Stage, exchange: Exchange):
    answer = _replay(stage, exchange)
    assert answer.reason == _sentence(answer.json())


@pytest.mark.parametrize("exchange", [found for found in EXCHANGES if found.name == "FileHeadTask_windows"])
def test_the_properties_of_a_file_say_its_size(stage: Stage, exchange: Exchange):
    assert _replay(stage, exchange).headers["Content-Length"] == "13"
