"""Azure itself does not answer, refuses, or is full."""

import threading
from dataclasses import replace

import pytest

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.run.judge import Cause
from tests.workflow.troubles.lab import job, provokes


@provokes(Cause.THROTTLED, Cause.SERVICE, Cause.CREDENTIALS)
@pytest.mark.parametrize(
    ("fault", "words", "cause"),
    [
        ({"kind": "throttle", "status": 429, "seconds": 0}, "asks for fewer requests", Cause.THROTTLED),
        ({"kind": "throttle", "status": 503, "seconds": 0}, "asks for fewer requests", Cause.THROTTLED),
        ({"kind": "error"}, "does not answer", Cause.SERVICE),
        ({"kind": "reset"}, "does not answer", Cause.SERVICE),
        ({"kind": "clock-skew"}, "refuses the credentials", Cause.CREDENTIALS),
    ],
)
def test_an_outage_is_waited_out_and_a_longer_one_is_not(lab, fault, words, cause):
    with lab.running() as run:
        run.submit([lab.waits_for_go("a"), lab.waits_for_go("b")])
        lab.start_of("a")
        lab.control.add_fault(**fault)
        lab.heard.wait(lambda: lab.heard.count(f"Azure Batch {words}, waiting for it") == 1)
        lab.control.clear_faults()
        lab.heard.wait(lambda: lab.heard.count("Azure Batch answers again") == 1)
        assert lab.heard.ended == {}
    with lab.running(service_patience=0.02) as run:
        run.submit([lab.waits_for_go("c"), lab.waits_for_go("d")])
        lab.start_of("c")
        lab.start_of("d")
        lab.control.add_fault(**fault)
        lab.must_fail("c", cause)
        lab.must_fail("d", cause)
    assert lab.heard.count("waiting for it") == 2
    assert lab.heard.count("All jobs are given up") == 1


def test_blob_storage_that_is_away_is_waited_for(lab, monkeypatch):
    for name in ("retry_total", "retry_connect", "retry_read"):  # the SDK itself would wait for two minutes
        monkeypatch.setitem(clients.BLOB_RETRIES, name, 1)
    with lab.running() as run:
        waiting = lab.waits_for_go("a")  # its output is more than fits into a commit record
        run.submit([replace(waiting, script=waiting.script.replace("echo done", "head -c 9999 /dev/zero"))])
        lab.start_of("a")
        lab.control.add_fault("reset", endpoint="blob", method="GET", route="*/a.txt*", count=5)
        lab.go()
        lab.heard.wait_for("a")
    assert lab.heard.ended == {"a": None}
    assert lab.workdir.read("a.txt") == "\0" * 9999
    assert lab.heard.count("Blob storage does not answer, waiting for it") == 1
    assert lab.heard.count("Blob storage answers again") == 1


def test_one_more_active_job_than_the_account_may_have_is_waited_for(lab):
    lab.control.add_fault("job-quota", limit=0)
    made = threading.Thread(target=lambda: lab.heard.wait(lambda: lab.heard.count("Waiting until another Batch job")))
    made.start()
    room = threading.Thread(target=lambda: (made.join(), lab.control.clear_faults()))
    room.start()
    with lab.running() as run:
        room.join()
        run.submit([job("a")])
        lab.must_succeed("a")
    assert lab.heard.count("ActiveJobAndScheduleQuotaReached") == 1
    assert lab.heard.count("There was room for the Batch job after ") == 1


def test_and_not_for_ever(lab):
    lab.control.add_fault("job-quota", limit=0)
    with pytest.raises(ServiceError, match="ActiveJobAndScheduleQuotaReached"), lab.running(service_patience=0.02):
        pass
    assert lab.heard.count("Waiting until another Batch job of the account ends, for 1 s at most.") == 1
