"""Reports in bursts."""

import threading
from collections.abc import Sequence

import pytest

from snakemake_executor_azurebatch.run.reporting import Report, Reporter

FOR_EVER_S = 3600.0


class Told:
    """What was reported, and a way to wait for it."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.bursts: list[int] = []  #: how many there were in each
        self._changed = threading.Condition()

    def __call__(self, some: Sequence[Report]) -> None:
        with self._changed:
            self.bursts.append(len(some))
            self.keys += [key for key, _ in some]
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.keys) >= count, timeout=60)
            return list(self.keys)


@pytest.fixture
def told():
    return Told()


def test_what_comes_alone_is_reported_at_once(told):
    reporter = Reporter(told, gather_s=FOR_EVER_S)
    reporter.coming(1)
    reporter.came(1, [("one", None)])

    assert told.wait_for(1) == ["one"]
    reporter.close()
    assert reporter.is_idle()


def test_reports_wait_for_what_is_coming_and_keep_their_order(told):
    reporter = Reporter(told, gather_s=FOR_EVER_S)
    reporter.coming(4)
    reporter.came(2, [("one", "it failed"), ("two", None)])
    assert not reporter.is_idle()
    reporter.came(1, [("three", "it failed")])
    assert told.keys == []

    reporter.came(1, [])

    assert told.wait_for(3) == ["one", "two", "three"]
    assert told.bursts == [3]
    reporter.close()


def test_they_do_not_wait_long_for_something_large(told):
    reporter = Reporter(told, gather_s=0.01)
    reporter.coming(2)
    reporter.came(1, [("small", None)])

    assert told.wait_for(1) == ["small"]
    assert not reporter.is_idle()
    reporter.close()


def test_at_the_end_all_that_has_come_is_reported(told):
    reporter = Reporter(told, gather_s=FOR_EVER_S)
    reporter.coming(3)
    reporter.came(1, [("one", None)])
    reporter.came(1, [("two", None)])

    reporter.close()

    assert told.keys == ["one", "two"]


def test_what_comes_while_others_are_reported_is_reported_next():
    may_go_on, keys = threading.Event(), []

    def report(some: Sequence[Report]) -> None:
        keys.extend(key for key, _ in some)
        if keys == ["one"]:
            reporter.came(1, [("two", None)])
            assert not reporter.is_idle()
            may_go_on.wait(60)

    reporter = Reporter(report, gather_s=FOR_EVER_S)
    reporter.coming(2)
    reporter.came(1, [("one", None)])
    may_go_on.set()
    reporter.close()

    assert keys == ["one", "two"]
    assert reporter.is_idle()
