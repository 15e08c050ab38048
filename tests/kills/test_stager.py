"""The stager of a task is killed (SIGKILL) in the middle of each thing that it does."""

from __future__ import annotations

import psutil
import pytest

from .gate import Moment, Stop
from .lab import ROUNDS, Lab, wait_for

REQUESTS = {
    "manifest": Stop("stager", "GET .*/manifest.json", Moment.HALF_ANSWERED),
    "sources": Stop("stager", "GET .*/sources/", Moment.HALF_ANSWERED),
    "stage-in-small": Stop("stager", "GET .*/SMALL", Moment.HALF_ANSWERED),
    "stage-in-large": Stop("stager", "GET .*/LARGE", Moment.HALF_ANSWERED),
    "log": Stop("stager", "PUT .*/logs/", Moment.HALF_SENT),
    "stage-out-small": Stop("stager", "PUT .*/outputs/out/small.txt", Moment.HALF_SENT),
    "stage-out-block": Stop("stager", "PUT .*/outputs/out/large.bin.*comp=block&", Moment.HALF_SENT, 2),
    "stage-out-block-list": Stop("stager", "PUT .*/outputs/out/large.bin.*comp=blocklist", Moment.BEFORE),
    "stage-out-block-list-done": Stop("stager", "PUT .*/outputs/out/large.bin.*comp=blocklist", Moment.AFTER),
    "stage-out-folder": Stop("stager", "PUT .*/outputs.folders/", Moment.HALF_SENT),
    "record": Stop("stager", "PUT .*/commit.json", Moment.HALF_SENT),
    "record-done": Stop("stager", "PUT .*/commit.json", Moment.AFTER),
    "next-job-by-reference": Stop("stager", "GET .*/outputs/out/large.bin", Moment.HALF_ANSWERED),
}


#: Each in a workdir of its own: the node may have the other input already, or nothing is left to do.
ALONE = ("stage-in-small", "record-done", "next-job-by-reference")
IN_TURN = [where for where in REQUESTS if where not in ALONE]


def killed_in_a_request(lab: Lab, where: str) -> None:
    halt = lab.stop_at(REQUESTS[where])
    running = lab.start()
    stager = lab.stager_at(halt.wait(running))
    stager.kill()
    psutil.wait_procs([stager])
    lab.check()
    halt.release()
    text = lab.end(running)
    if where == "record-done":  # all that counts was done
        assert "it was killed" not in text
    else:
        assert running.returncode == 1, text
        assert "it was killed before it could leave a commit record" in text
    assert "Traceback" not in text
    lab.check()


def killed_in_the_command(lab: Lab) -> None:
    lab.hold.touch()
    running = lab.start()
    here = lab.hold.with_name("hold.here")
    wait_for(here.exists, running)
    (stager,) = lab.stagers()
    stager.kill()
    text = lab.end(running)
    assert running.returncode == 1, text
    assert "it was killed before it could leave a commit record" in text
    lab.check()
    assert lab.processes() == []  # what the command had started is gone, too
    lab.hold.unlink()


@pytest.mark.kills
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("_round", ROUNDS)
def test_killed_in_one_request_after_the_other(lab: Lab, _round: int) -> None:
    """Each task gets a little further than the one before, on a node that remembers that one."""
    for where in IN_TURN:
        killed_in_a_request(lab, where)
        if where == "stage-in-large":
            killed_in_the_command(lab)
    lab.run_again()


@pytest.mark.kills
@pytest.mark.parametrize("_round", ROUNDS)
@pytest.mark.parametrize("where", ALONE)
def test_killed_in_a_request_alone(lab: Lab, where: str, _round: int) -> None:
    killed_in_a_request(lab, where)
    lab.run_again()
