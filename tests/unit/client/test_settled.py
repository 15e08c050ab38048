"""What Snakemake has taken, noted in the ledger."""

from queue import SimpleQueue

import pytest

from snakemake_executor_azurebatch.run.ledger import Entry, Ledger
from snakemake_executor_azurebatch.run.settled import Settled

FOR_EVER_S = 3600.0


@pytest.fixture
def ledger(tmp_path):
    said = []
    ledger = Ledger(tmp_path / "ledger.sqlite", "store", said.append)
    ledger.submitted(Entry(key, "job", "store", "work", key, 1, 0, "stager") for key in ("a", "b", "c"))
    yield ledger
    ledger.close()
    assert said == []


def states(ledger):
    return dict(ledger._read("SELECT task_id, state FROM tasks", ()))


def test_what_has_come_is_noted_at_the_end_at_the_latest(ledger):
    settled = Settled(ledger, gather_s=FOR_EVER_S)
    settled.add("a", is_done=True)
    settled.add("b", is_done=False)
    assert states(ledger) == dict.fromkeys("abc", "open")

    settled.close()

    assert states(ledger) == {"a": "done", "b": "failed", "c": "open"}


def test_it_is_noted_soon(ledger, monkeypatch):
    noted = SimpleQueue()
    monkeypatch.setattr(ledger, "ended", lambda keys, state: noted.put((keys, state)))
    settled = Settled(ledger, gather_s=0.01)
    settled.add("a", is_done=True)
    assert noted.get(timeout=60) == (["a"], "done")
    settled.add("c", is_done=False)
    assert noted.get(timeout=60) == (["c"], "failed")

    settled.close()

    assert noted.empty()


def test_what_a_ctrl_c_has_left_half_taken_is_noted_at_the_end(ledger, monkeypatch):
    settled = Settled(ledger, gather_s=0.01)

    def interrupted(step):
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(settled._pool, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            settled.add("a", is_done=True)
    settled.add("b", is_done=True)
    settled.close()

    assert states(ledger) == {"a": "done", "b": "done", "c": "open"}


def test_after_the_end_nothing_is_noted_and_nothing_is_raised(ledger):
    settled = Settled(ledger)
    settled.close()
    settled.add("a", is_done=True)
    settled.close()

    assert [one.task_id for one in ledger.open_tasks()] == ["a", "b", "c"]
