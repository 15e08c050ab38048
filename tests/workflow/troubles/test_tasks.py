"""Troubles of tasks and nodes, provoked on a local service that fails on purpose."""

import signal
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Product
from snakemake_executor_azurebatch.run import access
from snakemake_executor_azurebatch.run.access import TaskAccess
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.session import Session
from snakemake_executor_azurebatch.staging.grants import RenewedGrant
from snakemake_executor_azurebatch.staging.sas import Access, make_access
from tests.workflow.troubles.lab import job, provokes

# -- the user's own ------------------------------------------------------------------------------------


@provokes(Cause.COMMAND, Cause.OUT_OF_MEMORY, Cause.DISK_FULL, Cause.TIME_LIMIT, Cause.MISSING_OUTPUT)
def test_what_the_command_did_is_told_apart(lab):
    with lab.running() as run:
        run.submit(
            [
                job("killed", "kill -9 $$"),
                job("filled", "echo 'cp: x: No space left on device' >&2; exit 1"),
                job("slow", "exec sleep 600", runtime_s=1),
                replace(job("hungry", "echo MemoryError: x >&2; exit 2"), resources={"mem_mb": 2000}),
                job("wrong", "exit 3"),
                job("empty", "true"),
                job("good"),
            ]
        )
        lab.must_fail("killed", Cause.OUT_OF_MEMORY)
        lab.must_fail("filled", Cause.DISK_FULL)
        lab.must_fail("slow", Cause.TIME_LIMIT)
        assert "exit code 3" in lab.must_fail("wrong", Cause.COMMAND)
        assert "empty.txt" in lab.must_fail("empty", Cause.MISSING_OUTPUT)
        text = lab.must_fail("hungry", Cause.OUT_OF_MEMORY)
        lab.must_succeed("good")
    assert "2000 MB requested" in text
    assert "exit code 2" in text
    assert "  | MemoryError: x" in text
    assert "stderr.txt" in text
    assert lab.heard.count("Submitted again") == 0
    assert (lab.used[0].totals.succeeded, lab.used[0].totals.failed, lab.used[0].tries) == (1, 6, 0)


ENSURED = """
rule a:
    output: ensure("a.txt", non_empty=True)
    shell: "touch {output}"
"""


@provokes(Cause.NOT_ENSURED)
def test_what_ensure_demands(lab):
    lab.workdir.write("Snakefile", ENSURED)

    text = lab.workdir.run("--azurebatch-pool-id", lab.pool_id).must_fail().text

    assert Cause.NOT_ENSURED.value in text


@provokes(Cause.STAGE_OUT, Cause.BRING_BACK, Cause.SETUP, Cause.NOT_SUBMITTED)
def test_what_goes_wrong_around_the_command(lab):
    lab.workdir.write("a_file", "there already\n")
    nowhere = f"{lab.workdir.service.blob_url}/none?sig=x"
    with lab.running() as run:
        run.submit(
            [
                replace(job("shut"), environment={protocol.ENV_WRITE_URL: nowhere}),
                replace(job("below", "mkdir -p a_file; touch a_file/x"), outputs=(Product("a_file/x"),)),
                replace(job("blind"), environment={protocol.ENV_READ_URL: ""}),
                job("no id of a task"),
                job("good"),
            ]
        )
        lab.must_fail("shut", Cause.STAGE_OUT)
        lab.must_fail("below", Cause.BRING_BACK)
        lab.must_fail("blind", Cause.SETUP)
        lab.must_fail("no id of a task", Cause.NOT_SUBMITTED)
        lab.must_succeed("good")
    assert (lab.used[0].totals.succeeded, lab.used[0].totals.failed) == (1, 4)


# -- nodes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["preempt", "kill"])
def test_a_node_that_goes_away_costs_nothing_but_time(lab, kind):
    with lab.running(dedicated_nodes=0, spot_nodes=1) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.control.add_fault(kind, pool=lab.pool_id)
        lab.go()
        lab.must_succeed("a")
    assert lab.heard.count("Azure Batch had to start task a again once") == 1
    [used] = lab.used
    assert (used.totals.succeeded, used.totals.requeues, used.tries) == (1, 1, 0)
    assert [kind.is_spot for kind in used.node_s] == [True]


@provokes(Cause.DISK_FULL, Cause.STAGE_IN)
@pytest.mark.parametrize("kind", ["disk-full", "blob-unreachable"])
def test_what_a_node_cannot_stage_in_is_tried_again(lab, kind):
    with lab.running(infrastructure_retries=9) as run:
        lab.control.add_fault(kind, pool=lab.pool_id)
        run.submit([job("a")])
        lab.heard.wait(lambda: lab.heard.count("Submitted again in") == 1)
        lab.control.clear_faults()
        lab.must_succeed("a")
    cause = Cause.DISK_FULL if kind == "disk-full" else Cause.STAGE_IN
    assert f"Task a: {cause.value}" in "\n".join(lab.heard.said)
    assert "(1 of at most 9 times)" in "\n".join(lab.heard.said)


def test_too_many_tries_end_with_their_history(lab):
    with lab.running(infrastructure_retries=2) as run:
        lab.control.add_fault("disk-full", pool=lab.pool_id)
        run.submit([job("a")])
        text = lab.must_fail("a", Cause.DISK_FULL)
    assert text.count("Tried before: ") == 2
    assert lab.heard.count("Submitted again in") == 2
    [used] = lab.used
    assert (used.totals.succeeded, used.totals.failed, used.totals.requeues, used.tries) == (0, 1, 0, 2)


@provokes(Cause.KILLED, Cause.PREEMPTED, Cause.NODE_LOST)
@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, Cause.KILLED), (signal.SIGTERM, Cause.PREEMPTED), (signal.SIGABRT, Cause.NODE_LOST)],
)
def test_what_ends_a_task_from_outside_is_tried_again(lab, number, cause):
    """SIGTERM is what a node's processes get when it shuts down; the others are ends without a word."""
    with lab.running() as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        lab.stager_of("a").send_signal(number)
        lab.heard.wait(lambda: lab.heard.count("Submitted again in") == 1)
        lab.go()
        lab.must_be_tried_again("a", cause)


@provokes(Cause.NODE_LOST, Cause.UNKNOWN)
@pytest.mark.parametrize(
    ("code", "cause"), [("MaxInternalRetryCountReached", Cause.NODE_LOST), ("SomethingNew", Cause.UNKNOWN)]
)
def test_what_the_service_ends_is_tried_again(lab, code, cause):
    with lab.running(infrastructure_retries=9) as run:
        lab.control.add_fault("task-failure", pool=lab.pool_id, code=code)
        run.submit([job("a")])
        lab.heard.wait(lambda: lab.heard.count("Submitted again in") == 1)
        lab.control.clear_faults()
        lab.must_be_tried_again("a", cause)


@provokes(Cause.NOT_STARTED, Cause.IMAGE, Cause.REGISTRY)
@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("CommandProgramNotFound", Cause.NOT_STARTED),
        ("ContainerInvalidImage", Cause.IMAGE),
        ("ContainerInvalidRegistry", Cause.REGISTRY),
    ],
)
def test_what_the_service_cannot_start_is_told_in_its_words(lab, code, cause):
    with lab.running() as run:
        lab.control.add_fault("task-failure", pool=lab.pool_id, code=code)
        run.submit([job("a")])
        assert code in lab.must_fail("a", cause)
    assert lab.heard.count("Submitted again") == 0


def with_access_to_read_only(session: Session) -> Session:
    """What tasks may write with is over already, as if it had ended while they ran."""

    def make() -> Access:
        container = session.store.container
        key = container.credential.account_key
        good, over = (make_access(container, lifetime_s, account_key=key) for lifetime_s in (3600, -60))
        return Access(good.read_url, over.write_url, good.expires)

    return replace(session, access=TaskAccess(RenewedGrant(make), lambda: session.access.stager_url, is_in_job=False))


@provokes(Cause.ACCESS_RAN_OUT)
def test_access_that_ends_while_a_task_runs(lab, monkeypatch):
    monkeypatch.setattr(access, "MARGIN", timedelta(0))
    with lab.running(with_access_to_read_only) as run:
        run.submit([lab.waits_for_go("a")])
        lab.start_of("a")
        run._session.access._ends["a"] = datetime.fromisoformat(lab.control.clock()["now"])  # not this machine's
        lab.go()
        lab.must_fail("a", Cause.ACCESS_RAN_OUT)
    assert lab.heard.count("Submitted again") == 0
