"""Blob storage dies (SIGKILL) in the middle of each request and comes back; or its connections break."""

from __future__ import annotations

import pytest

from . import test_controller, test_stager
from .gate import Halt, Moment, Stop
from .lab import ROUNDS, Lab

CONTROLLER = {f"controller-{name}": stop for name, (gate, stop) in test_controller.REQUESTS.items() if gate == "blob"}
STAGER = {f"stager-{name}": stop for name, stop in test_stager.REQUESTS.items()}
STOPS = {**CONTROLLER, **STAGER}


def storage_killed(lab: Lab, where: str) -> None:
    """Azurite may forget what it was told in its last seconds: the run may fail then, with words."""
    halt = lab.stop_at(STOPS[where])
    running = lab.start()
    halt.wait(running)
    lab.storage.kill()
    lab.storage.start_again()
    halt.release()
    text = lab.end(running)
    assert running.returncode in (0, 1), text
    assert "Traceback" not in text
    lab.check()


def broken(lab: Lab, stop: Stop) -> Halt:
    """Break the connection of this request, and let everybody go on."""
    halt = lab.stop_at(stop)
    halt.release()
    return halt


@pytest.mark.kills
@pytest.mark.parametrize("_round", ROUNDS)
@pytest.mark.parametrize("where", STOPS)
def test_storage_killed_in_a_request(lab: Lab, where: str, _round: int) -> None:
    storage_killed(lab, where)
    lab.run_again()


@pytest.mark.kills
@pytest.mark.parametrize("_round", ROUNDS)
@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.value)
def test_every_fifth_answer_is_lost(lab: Lab, moment: Moment, _round: int) -> None:
    halts = [broken(lab, Stop(who, ".", moment, number)) for who in ("controller", "stager") for number in (5, 10, 15)]
    running = lab.start()
    text = lab.end(running)
    assert running.returncode == 0, text
    assert [halt for halt in halts[:2] if not halt.reached.is_set()] == []
    lab.run_again()
