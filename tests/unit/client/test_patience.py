"""Waiting for a service: what is told, how long it lasts."""

from itertools import pairwise

import pytest

from snakemake_executor_azurebatch.errors import AccessRefused, NotFound, ServiceError, ServiceUnreachable
from snakemake_executor_azurebatch.run import patience as module
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.patience import LONGEST_PAUSE_S, OutOfPatience, Patience

LIMIT_S = 600.0
AWAY = ServiceUnreachable("looking: no answer")
BUSY = ServiceError("submitting: ServerBusy", "ServerBusy", 503)


class Clock:
    """Time that passes where somebody waits, or where a test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def said():
    return []


@pytest.fixture
def patience(clock, said, monkeypatch):
    patience = Patience("Azure Batch", LIMIT_S, said.append)

    def rest(pause_s):
        clock.now_s += pause_s
        return False

    monkeypatch.setattr(patience, "rest", rest)
    return patience


def failing(*errors):
    """A step that raises these, then works."""
    left = list(errors)

    def step():
        if left:
            raise left.pop(0)
        return "done"

    return step


def test_an_outage_is_told_once_and_again_when_it_is_over(patience, said):
    assert patience(failing(AWAY, AWAY, AWAY)) == "done"
    assert len(said) == 2
    assert said[0] == "Azure Batch does not answer, waiting for it: looking: no answer"
    assert said[1].startswith("Azure Batch answers again, after ")


def test_what_keeps_failing_is_given_up_although_other_things_work(patience, said, clock):
    began_s, pauses = clock.now_s, []

    def submit():
        assert patience(failing()) == "done"  # a listing, at the same time
        pauses.append(clock.now_s)
        raise BUSY

    with pytest.raises(OutOfPatience, match="For 10 min: submitting: ServerBusy") as out:
        patience(submit)

    assert out.value.failure.cause is Cause.THROTTLED
    assert LIMIT_S <= clock.now_s - began_s <= LIMIT_S + 1
    assert said == ["Azure Batch asks for fewer requests, waiting for it: submitting: ServerBusy"]
    # The pauses have grown, whatever worked meanwhile; the last one ends at the limit.
    assert max(b - a for a, b in pairwise(pauses)) > 0.7 * LONGEST_PAUSE_S
    assert len(pauses) < 50


def test_it_is_over_when_nothing_fails_any_more(patience, said, clock):
    first, second = patience.trying(), patience.trying()
    first.failed(AWAY)
    second.failed(BUSY)
    clock.now_s += 60
    first.worked()
    assert len(said) == 1
    clock.now_s += 60
    second.worked()
    assert said[1:] == ["Azure Batch answers again, after 2 min."]


def test_where_nothing_works_what_begins_later_is_given_up_with_the_first(patience, clock):
    first, later = patience.trying(), patience.trying()
    for _ in range(10):
        first.failed(AWAY)
        clock.now_s += LIMIT_S / 10 - 1
    later.failed(AWAY)
    clock.now_s += 10
    with pytest.raises(OutOfPatience, match="For 10 min"):
        later.failed(AWAY)


def test_where_something_works_what_begins_later_has_its_own_time(patience, clock):
    first, later = patience.trying(), patience.trying()
    first.failed(BUSY)
    clock.now_s += LIMIT_S - 1
    assert patience(failing()) == "done"
    later.failed(BUSY)
    clock.now_s += 1
    later.failed(BUSY)
    with pytest.raises(OutOfPatience):
        first.failed(BUSY)


def test_a_failure_long_ago_is_another_outage(patience, clock, said):
    with pytest.raises(KeyError):  # an input that has changed, say
        patience(failing(AWAY, KeyError()))
    clock.now_s += 5 * 3600

    assert patience(failing(AWAY)) == "done"
    assert [text.partition(",")[0] for text in said[1:]] == ["Azure Batch does not answer", "Azure Batch answers again"]


def test_what_is_not_tried_for_a_while_begins_anew(patience, clock):
    looking = patience.trying()
    looking.failed(AWAY)
    looking.forget()
    clock.now_s += LIMIT_S + 1

    assert looking.failed(AWAY) > 0


def test_a_refusal_is_an_answer(patience, said):
    with pytest.raises(NotFound):
        patience(failing(AWAY, NotFound("looking: no such job", "JobNotFound", 404)))

    assert len(said) == 2
    assert said[1].startswith("Azure Batch answers again, after ")


def test_what_ends_in_another_way_does_not_keep_the_next_outage_from_being_told(patience, said):
    with pytest.raises(KeyError):
        patience(failing(AWAY, KeyError()))
    assert len(said) == 1

    patience(failing(AccessRefused("looking: refused", "AuthenticationFailed", 403)))

    assert said[1] == "Azure Batch refuses the credentials, waiting for it: looking: refused"
    assert len(said) == 3


def test_nothing_is_waited_for_at_the_end(said):
    patience = Patience("Azure Batch", LIMIT_S, said.append)
    patience.stop()
    with pytest.raises(ServiceUnreachable):
        patience(failing(AWAY))
