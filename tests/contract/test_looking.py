"""The look at completed tasks: all of them, page for page, without models of the SDK."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.pipeline.policies import ContentDecodePolicy

from snakemake_executor_azurebatch.errors import NotFound
from snakemake_executor_azurebatch.run import watch
from snakemake_executor_azurebatch.run.watch import look_at


@pytest.fixture
def ended(bench):
    for name, script in (("a", "exit 0"), ("b", "exit 3"), ("c", "exit 0")):
        bench.add(name, script)
    for name in "abc":
        bench.wait_for(name)
    return bench


def seen_in(pages):
    return [one for page in pages for one in page]


def test_every_page_is_looked_at(ended, monkeypatch):
    monkeypatch.setattr(watch, "PAGE_SIZE", 1)

    pages = list(look_at(ended.batch, ended.id)(None))

    assert [len(page) for page in pages] == [1, 1, 1]
    seen = {sighting.task_id: (sighting, changed) for sighting, changed in seen_in(pages)}
    assert {name: sighting.exit_code for name, (sighting, _) in seen.items()} == {"a": 0, "b": 3, "c": 0}
    assert seen["b"][0].failure_code == "FailureExitCode"
    for name, (sighting, changed) in seen.items():
        task = ended.batch.get_task(ended.id, name)
        assert changed == task.state_transition_time
        assert (sighting.started, sighting.ended) == (task.execution_info.start_time, task.execution_info.end_time)
        assert sighting.node_id == task.node_info.node_id


def test_a_look_since_a_time_sees_what_has_changed_since(ended):
    newest = max(changed for _, changed in seen_in(look_at(ended.batch, ended.id)(None)))

    assert seen_in(look_at(ended.batch, ended.id)(newest + timedelta(seconds=1))) == []
    assert seen_in(look_at(ended.batch, ended.id)(newest))


def test_no_models_are_made(ended, monkeypatch):
    monkeypatch.setattr(m.BatchTask, "__init__", None)  # calling it would fail

    assert len(seen_in(look_at(ended.batch, ended.id)(None))) == 3


def test_no_answer_is_decoded_twice(ended, monkeypatch):
    monkeypatch.setattr(ContentDecodePolicy, "deserialize_from_text", None)  # calling it would fail

    assert len(seen_in(look_at(ended.batch, ended.id)(None))) == 3


def test_what_the_service_refuses_is_told(batch):
    with pytest.raises(NotFound, match="looking at the tasks: JobNotFound") as raised:
        list(look_at(batch, "no-such-job")(None))

    assert raised.value.code == "JobNotFound"


def test_what_is_not_open_is_passed_over(ended):
    ids = sorted(sighting.task_id for sighting, _ in seen_in(look_at(ended.batch, ended.id)(None)))

    pages = look_at(ended.batch, ended.id, {ids[1]}.__contains__)(None)
    seen = [sighting.task_id for sighting, _ in seen_in(pages)]

    assert seen == [ids[1]]
