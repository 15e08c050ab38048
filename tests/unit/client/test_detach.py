"""Leaving a run."""

import threading
from types import SimpleNamespace

from snakemake_executor_azurebatch import detach
from snakemake_executor_azurebatch.detach import Asked, Detacher
from snakemake_executor_azurebatch.errors import ServiceError


def test_what_keeps_a_run_from_being_left_is_told_once_and_asked_for_more_rarely(monkeypatch):
    pauses, said, ended = [], [], threading.Event()
    answers = [ServiceError("refused"), ServiceError("refused"), ServiceError("other"), None, 7200.0]

    class Stopping(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return self.is_set()

    def leave():
        answer = answers.pop(0)
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    scheduler = SimpleNamespace(running={"job"}, open_jobs=[])
    scheduler.executor_error_callback = lambda error: (said.append(str(error)), ended.set())
    workflow = SimpleNamespace(scheduler=scheduler, execution_settings=SimpleNamespace())
    monkeypatch.setattr(detach, "threading", SimpleNamespace(Event=Stopping, Thread=threading.Thread))
    Detacher(workflow, Asked(lambda: 0.0, lambda: {"job"}, lambda: True, leave), said.append)

    assert ended.wait(60)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 0.5]
    assert said[:2] == ["Cannot leave yet, trying again: refused", "Cannot leave yet, trying again: other"]
    assert said[2].startswith("Detached: 1 task goes on without snakemake, for 2 hours at most.")
    assert len(said) == 3
