"""A short selection of what ``tests/run kills`` does: one kill of each, and a broken connection in each phase."""

from __future__ import annotations

import pytest

from .gate import Stop
from .lab import Lab
from .test_controller import kill_in_a_request
from .test_stager import killed_in_a_request
from .test_storage import STOPS, broken, storage_killed

BROKEN = [
    "controller-upload-small",
    "controller-upload-block",
    "controller-upload-block-list-done",
    "controller-manifest-done",
    "controller-read-record",
    "controller-download-large",
    "controller-download-folder",
    "stager-manifest",
    "stager-sources",
    "stager-stage-in-large",
    "stager-log",
    "stager-stage-out-block",
    "stager-stage-out-block-list-done",
    "stager-stage-out-folder",
    "stager-record-done",
]


@pytest.mark.long
def test_controller_stager_and_storage_die_one_after_the_other(lab: Lab) -> None:
    kill_in_a_request(lab, "upload-block")
    lab.unlock()
    killed_in_a_request(lab, "stage-out-block")
    storage_killed(lab, "controller-download-large")
    lab.run_again()


def test_connections_that_break_once_in_every_phase_harm_nothing(lab: Lab) -> None:
    stops: dict[str, Stop] = {where: STOPS[where] for where in BROKEN}
    halts = {where: broken(lab, stop) for where, stop in stops.items()}
    running = lab.start()
    text = lab.end(running)
    assert running.returncode == 0, text
    assert [where for where, halt in halts.items() if not halt.reached.is_set()] == []
    lab.check_all_there()
