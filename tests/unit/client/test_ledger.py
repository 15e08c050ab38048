"""The ledger of submitted tasks."""

import pytest

from snakemake_executor_azurebatch.run import ledger as module
from snakemake_executor_azurebatch.run.ledger import DONE, BatchJobEntry, Entry, Ledger


@pytest.fixture
def open_ledger(tmp_path):
    opened, said = [], []

    def open_one(store_id: str = "store") -> Ledger:
        opened.append(Ledger(tmp_path / "ledger.sqlite", store_id, said.append))
        return opened[-1]

    open_one.said = said
    yield open_one
    for one in opened:
        one.close()


def entry(task_id: str, generation: int = 0, store_id: str = "store") -> Entry:
    return Entry(task_id, "job", store_id, "work", "mark", 1, generation, "stager")


def test_what_was_submitted_is_open_for_the_next_run_until_its_end_was_noted(open_ledger):
    ledger = open_ledger()
    ledger.submitted([entry("a"), entry("b"), entry("elsewhere", store_id="other")])
    ledger.ended(["b"], DONE)
    ledger.close()

    again = open_ledger()

    assert [one.task_id for one in again.open_tasks()] == ["a"]
    assert again.salt == ledger.salt
    assert open_ledger.said == []


def test_a_task_that_was_moved_is_looked_for_where_it_is(open_ledger):
    ledger = open_ledger()
    ledger.submitted([entry("a"), entry("b")])
    ledger.moved(["a", "unknown"], "job-dedicated")
    ledger.close()

    assert [(one.task_id, one.batch_job_id) for one in open_ledger().open_tasks()] == [
        ("a", "job-dedicated"),
        ("b", "job"),
    ]


def test_generations_count_on_for_the_same_work_and_attempt(open_ledger):
    ledger = open_ledger()
    assert ledger.next_generation("mark", 1) == 0

    ledger.submitted([entry("a", 0), entry("b", 1)])

    assert ledger.next_generation("mark", 1) == 2
    assert ledger.next_generation("mark", 2) == 0
    assert ledger.next_generation("other", 1) == 0


def test_what_is_open_for_too_long_is_asked_for_no_more(open_ledger, monkeypatch):
    ledger = open_ledger()
    ledger.submitted([entry("a")])
    assert len(ledger.open_tasks()) == 1

    monkeypatch.setattr(module, "OPEN_AT_MOST_S", -1.0)

    assert ledger.open_tasks() == []


def test_batch_jobs_are_known_again(open_ledger):
    open_ledger().add_batch_job(BatchJobEntry("job", "http://store", "grant"))

    found = open_ledger().batch_job("job")

    assert found is not None
    assert (found.store_url, found.grant_id) == ("http://store", "grant")
    assert open_ledger().batch_job("other") is None


def test_a_damaged_ledger_is_put_aside_and_a_new_one_gives_other_ids(open_ledger, tmp_path):
    first = open_ledger()
    first.close()
    (tmp_path / "ledger.sqlite").write_bytes(b"something else" * 100)

    second = open_ledger()

    assert second.open_tasks() == []
    assert second.salt != first.salt
    assert (tmp_path / "ledger.sqlite.broken").exists()
    assert "cannot be used" in open_ledger.said[0]


def test_a_closed_ledger_does_no_harm(open_ledger):
    ledger = open_ledger()
    ledger.close()

    ledger.ended(["a"], DONE)
