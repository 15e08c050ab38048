"""The controller is killed (SIGKILL) in the middle of each thing that it does."""

from __future__ import annotations

import pytest

from .gate import Moment, Stop
from .lab import ROUNDS, Lab

HALF_SENT, HALF_ANSWERED, BEFORE, AFTER = Moment.HALF_SENT, Moment.HALF_ANSWERED, Moment.BEFORE, Moment.AFTER


def blob(fits: str, moment: Moment, number: int = 1) -> tuple[str, Stop]:
    return "blob", Stop("controller", fits, moment, number)


def batch(fits: str, moment: Moment, number: int = 1) -> tuple[str, Stop]:
    return "batch", Stop("controller", fits, moment, number)


REQUESTS = {
    "upload-stager": blob("PUT .*/runtime/", HALF_SENT),
    "upload-sources": blob("PUT .*/sources/", HALF_SENT),
    "upload-small": blob("PUT .*/SMALL", HALF_SENT),
    "upload-block": blob("PUT .*/LARGE.*comp=block&", HALF_SENT, 2),
    "upload-block-list": blob("PUT .*/LARGE.*comp=blocklist", BEFORE),
    "upload-block-list-done": blob("PUT .*/LARGE.*comp=blocklist", AFTER),
    "manifest": blob("PUT .*/manifest.json", HALF_SENT),
    "manifest-done": blob("PUT .*/manifest.json", AFTER),
    "submit": batch("POST .*/addtaskcollection", HALF_SENT),
    "submit-done": batch("POST .*/addtaskcollection", AFTER),
    "watch": batch("GET .*/tasks", AFTER, 3),
    "read-record": blob("GET .*/commit.json", HALF_ANSWERED),
    "download-large": blob("GET .*/outputs/out/large.bin", HALF_ANSWERED),
    "download-small": blob("GET .*/outputs/out/small.txt", HALF_ANSWERED),
    "download-folder": blob("GET .*/outputs.folders/out/tree.tar", HALF_ANSWERED),
    "download-log": blob("GET .*/logs/first.log", HALF_ANSWERED),
    "last-output": blob("GET .*/commit.json", AFTER, 2),  # it is in there
    "finish-terminate": batch("POST .*/terminate", BEFORE),
    "finish-terminate-done": batch("POST .*/terminate", AFTER),
    "finish-revoke": blob("PUT .*comp=acl", BEFORE, 2),
}

#: Points inside of the process, between two steps on the disk.
STEPS = {
    "digesting-an-input": ("call:snakemake_executor_azurebatch.staging.digests:of_file", 2),
    "unpacking-a-folder": ("audit:^open .*[.]smk-.*/sub/part", 1),
    "giving-times": ("audit:^os.utime .*out/[.]smk-", 2),
    "before-the-first-rename": ("audit:^os.rename .*out/", 1),
    "between-two-renames": ("audit:^os.rename .*out/", 2),
    "before-the-last-rename": ("audit:^os.rename .*out/", 3),
    "renamed-not-indexed": ("call:snakemake_executor_azurebatch.staging.outputs:learn_outputs", 1),
    "indexed-not-reported": ("done:snakemake_executor_azurebatch.staging.index:Index.learn_all", 1),
}


def kill_in_a_request(lab: Lab, where: str) -> None:
    gate, stop = REQUESTS[where]
    halt = lab.stop_at(stop, gate)
    running = lab.start()
    halt.wait(running)
    lab.kill(running)
    lab.check()
    halt.release()


def kill_at_a_step(lab: Lab, where: str) -> None:
    point, number = STEPS[where]
    running = lab.start(point, str(number))
    text = lab.end(running)
    assert running.returncode == -9, text
    lab.check()


#: The first request that is made when a task is done.
WHEN_DONE = "read-record"

#: Nothing is left to do for a run after one that got so far.
AT_THE_END = ("finish-terminate", "finish-terminate-done", "finish-revoke")


@pytest.mark.kills
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("_round", ROUNDS)
def test_killed_in_one_request_after_the_other(lab: Lab, _round: int) -> None:
    """Each run gets a little further than the one before, and goes on from what that has left."""
    lab.hold.touch()  # so that no task of an earlier run is done before its turn comes
    for where in REQUESTS:
        if where == WHEN_DONE:
            lab.hold.unlink()
        if where not in AT_THE_END:
            kill_in_a_request(lab, where)
            lab.unlock()
    lab.run_again()


@pytest.mark.kills
@pytest.mark.parametrize("_round", ROUNDS)
@pytest.mark.parametrize("where", AT_THE_END)
def test_killed_at_the_end(lab: Lab, where: str, _round: int) -> None:
    kill_in_a_request(lab, where)
    lab.run_again()


@pytest.mark.kills
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("_round", ROUNDS)
def test_killed_at_one_step_after_the_other(lab: Lab, _round: int) -> None:
    for where in STEPS:
        kill_at_a_step(lab, where)
        lab.unlock()
    lab.run_again()
