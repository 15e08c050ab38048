"""The watcher: each completion once, silence while there is nothing to see, outages told once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from snakemake_executor_azurebatch.errors import NotFound, ServiceError, ServiceUnreachable
from snakemake_executor_azurebatch.run import watch
from snakemake_executor_azurebatch.run.judge import Cause, Failure, Sighting, judge
from snakemake_executor_azurebatch.run.looking_back import OVERLAP
from snakemake_executor_azurebatch.run.oversee import Quiet
from snakemake_executor_azurebatch.run.pace import Counts
from snakemake_executor_azurebatch.run.patience import Patience
from snakemake_executor_azurebatch.run.watch import Events, Sight, Watcher, sighting_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE_S = 60


class Sky:
    """What the looks see, one entry for each look; then nothing."""

    def __init__(self, *looks: object) -> None:
        self._looks = list(looks)
        self.since: list[datetime | None] = []
        self.used_up = threading.Event()

    def __call__(self, since: datetime | None) -> Iterator[list[tuple[Sighting, datetime]]]:
        self.since.append(since)
        seen = self._looks.pop(0) if self._looks else []
        if not self._looks:
            self.used_up.set()
        if isinstance(seen, Exception):
            raise seen
        yield seen[:1]  # as pages: the first, and all others
        yield seen[1:]


def putting(completed: SimpleQueue) -> Callable[[Sequence[Sighting]], None]:
    """Puts the ids of tasks there, one after the other."""

    def put(some: Sequence[Sighting]) -> None:
        for sighting in some:
            completed.put(sighting.task_id)

    return put


def task(name: str, minute: int) -> tuple[Sighting, datetime]:
    return Sighting(name, 0), NOON + timedelta(minutes=minute)


@contextmanager
def watching(sky: Sky) -> Iterator[tuple[Watcher, SimpleQueue, list[str]]]:
    completed: SimpleQueue = SimpleQueue()
    said: list[str] = []
    patience = Patience("Azure Batch", 3600, said.append, first_pause_s=0.001)
    watcher = Watcher(Sight(sky), 0.001, Events(putting(completed), print, said.append), patience)
    try:
        yield watcher, completed, said
    finally:
        watcher.stop()


def test_a_completion_that_is_listed_twice_is_told_once():
    sky = Sky([task("a", 0)], [task("a", 0), task("b", 1)])
    with watching(sky) as (watcher, completed, _):
        watcher.add(["a", "b"])

        assert [completed.get(timeout=PATIENCE_S) for _ in range(2)] == ["a", "b"]

    assert completed.empty()


def test_a_task_of_somebody_else_is_not_told():
    with watching(Sky([task("other", 0), task("mine", 0)])) as (watcher, completed, _):
        watcher.add(["mine"])

        assert completed.get(timeout=PATIENCE_S) == "mine"

    assert completed.empty()


def test_each_look_begins_a_little_before_the_newest_that_was_seen():
    sky = Sky([task("a", 5), task("b", 3)], [], [task("c", 9)])
    with watching(sky) as (watcher, completed, _):
        watcher.add(["a", "b", "c"])
        for _ in range(3):
            completed.get(timeout=PATIENCE_S)

    assert sky.since[:3] == [None, NOON + timedelta(minutes=5) - OVERLAP, NOON + timedelta(minutes=5) - OVERLAP]


def test_nothing_is_asked_while_nothing_is_watched():
    sky = Sky([task("a", 0)], [task("b", 0)])
    with watching(sky) as (watcher, completed, _):
        watcher.add(["a"])
        completed.get(timeout=PATIENCE_S)
        looks = len(sky.since)
        watcher.add(["b"])
        watcher.discard("b")

    assert looks == 1


def test_an_outage_is_told_once_and_again_when_it_is_over():
    sky = Sky(ServiceUnreachable("looking: no answer"), ServiceUnreachable("still none"), [task("a", 0)])
    with watching(sky) as (watcher, completed, said):
        watcher.add(["a"])
        completed.get(timeout=PATIENCE_S)

    assert said == [
        "Azure Batch does not answer, waiting for it: looking: no answer",
        "Azure Batch answers again, after 0 s.",
    ]


def test_an_outage_that_lasts_is_given_up():
    gave_up: SimpleQueue = SimpleQueue()
    outage = ServiceUnreachable("looking: no answer")
    patience = Patience("Azure Batch", 0, print)
    watcher = Watcher(Sight(Sky(outage)), 0.001, Events(print, gave_up.put, print), patience)
    watcher.add(["a"])

    failure = gave_up.get(timeout=PATIENCE_S)
    watcher.stop()

    assert failure == Failure(Cause.SERVICE, "For 0 s: looking: no answer")


def test_a_batch_job_that_is_gone_is_given_up_at_once():
    gave_up: SimpleQueue = SimpleQueue()
    patience = Patience("Azure Batch", 3600, print)
    watcher = Watcher(
        Sight(Sky(NotFound("looking: gone", "JobNotFound", 404))), 0.001, Events(print, gave_up.put, print), patience
    )
    watcher.add(["a"])

    assert gave_up.get(timeout=PATIENCE_S).cause is Cause.JOB_GONE
    watcher.stop()


@pytest.mark.parametrize(
    "error", [ServiceError("nodes: refused", "Refused", 409), ServiceUnreachable("nodes: no answer")]
)
def test_what_cannot_be_looked_at_besides_is_told_once_and_is_no_outage(error):
    looks: list[int] = []
    many = threading.Event()
    said: list[str] = []
    gave_up: list[Failure] = []

    def after_look(_: frozenset[str], __: float) -> None:
        looks.append(1)
        if len(looks) == 5:
            many.set()
        raise error

    patience = Patience("Azure Batch", 0, said.append)
    watcher = Watcher(Sight(Sky()), 0.001, Events(print, gave_up.append, said.append), patience, after_look)
    watcher.add(["a"])
    assert many.wait(PATIENCE_S)
    watcher.stop()
    assert said == [f"What tasks need could not be looked at, trying again: {error}"]
    assert gave_up == []


def test_a_batch_job_that_is_seen_gone_besides_is_given_up():
    gave_up: SimpleQueue = SimpleQueue()

    def after_look(_: frozenset[str], __: float) -> None:
        raise ServiceError("looking why: gone", "JobCompleted", 409)

    patience = Patience("Azure Batch", 3600, print)
    watcher = Watcher(Sight(Sky()), 0.001, Events(print, gave_up.put, print), patience, after_look)
    watcher.add(["a"])
    assert gave_up.get(timeout=PATIENCE_S).cause is Cause.JOB_GONE
    watcher.stop()


def test_what_a_listener_raises_is_told_and_ends_nothing():
    heard: SimpleQueue = SimpleQueue()
    said: list[str] = []

    def completed(some: Sequence[Sighting]) -> None:
        putting(heard)(some)
        if some[0].task_id == "a":
            raise KeyError("bug")

    patience = Patience("Azure Batch", 3600, said.append)
    watcher = Watcher(Sight(Sky([task("a", 0), task("b", 0)])), 0.001, Events(completed, print, said.append), patience)
    watcher.add(["a", "b"])

    assert [heard.get(timeout=PATIENCE_S) for _ in range(2)] == ["a", "b"]
    watcher.stop()
    assert said == ["While tasks were reported (a the first): KeyError('bug')"]


def test_in_a_quiet_time_the_counts_are_asked_for_and_a_change_is_listed():
    counted: list[Counts] = []
    states = [Counts(0, 2, 0)] * 3 + [Counts(0, 1, 1)] * 2

    def count() -> Counts:
        counted.append(states[min(len(counted), len(states) - 1)])
        return counted[-1]

    sky = Sky([], [], [task("a", 0)])
    completed: SimpleQueue = SimpleQueue()
    events = Events(lambda some: completed.put((some[0].task_id, len(counted))), print, print)
    watcher = Watcher(Sight(sky, count), 0.001, events, Patience("Azure Batch", 3600, print))
    watcher.add(["a", "b"])

    seen = completed.get(timeout=PATIENCE_S)
    watcher.stop()

    # The first count is new and lists in vain, two say the same, the fourth has one more.
    assert seen == ("a", 4)
    assert len(sky.since) >= 3


def test_what_a_look_raises_is_told_once_and_the_next_look_comes(monkeypatch):
    monkeypatch.setattr(watch, "MAX_BACKOFF_S", 0.001)
    with watching(Sky(KeyError("bug"), KeyError("bug"), [task("a", 0)])) as (watcher, completed, said):
        watcher.add(["a"])
        assert completed.get(timeout=PATIENCE_S) == "a"

    assert said == ["While watching the tasks: KeyError('bug')"]


def test_a_quiet_time_is_asked_about_more_and_more_rarely():
    quiet = Quiet.begins(0, 60)
    asked_at = []
    for _ in range(6):
        asked_at.append(quiet.ask_at_s)
        quiet = quiet.asked(quiet.ask_at_s)

    assert asked_at == [60, 180, 420, 900, 1500, 2100]


def test_what_a_registry_said_is_in_the_details_of_a_failure():
    failure = {
        "category": "usererror",
        "code": "ContainerInvalidImage",
        "message": "One or more container images specified are invalid",
        "details": [
            {"name": "ContainerImage", "value": "one:1"},
            {"name": "Message", "value": "toomanyrequests: at https://r.io/v2?sig=s3cr3t"},
        ],
    }
    sighting = sighting_of({"id": "t", "executionInfo": {"failureInfo": failure}})

    assert sighting.failure_message == (
        "One or more container images specified are invalid\n"
        "ContainerImage: one:1; Message: toomanyrequests: at https://r.io/v2"
    )
    verdict = judge(sighting, None)
    assert verdict is not None
    assert (verdict.cause, verdict.is_infrastructure) == (Cause.IMAGE, True)


def test_a_failure_without_words_has_none():
    assert sighting_of({"id": "t", "executionInfo": {"failureInfo": {"code": "Unknown"}}}).failure_message is None
    assert sighting_of({"id": "t"}).failure_message is None
