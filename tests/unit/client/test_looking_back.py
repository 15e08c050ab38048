"""Since when tasks are listed: what a listing shows late is found nevertheless."""

from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.run.looking_back import FAR_EVERY_S, FAR_OVERLAP, OVERLAP, LookingBack

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def test_nothing_was_seen_all_is_listed():
    back = LookingBack()
    assert back.since(0) is None
    back.listed(0, None)

    assert back.since(1) is None


def test_usually_it_is_a_little_beyond_the_newest():
    back = LookingBack()
    back.listed(0, at(0))
    back.listed(2, at(100))
    back.listed(4, at(50))

    assert back.since(6) == at(100) - OVERLAP


def test_now_and_then_it_is_far_beyond_what_was_the_newest_when_it_was_so_last():
    back = LookingBack()
    back.listed(0, at(0))
    back.listed(FAR_EVERY_S - 1, at(110))
    assert back.since(FAR_EVERY_S) == at(0) - FAR_OVERLAP
    assert back.since(FAR_EVERY_S + 1) == at(0) - FAR_OVERLAP, "the last one came to nothing"
    back.listed(FAR_EVERY_S + 1, at(115))

    assert back.since(FAR_EVERY_S + 2) == at(115) - OVERLAP
    assert back.since(2 * FAR_EVERY_S + 1) == at(115) - FAR_OVERLAP


@pytest.mark.parametrize("interval_s", [0.5, 2, 10, 60, 600])
@pytest.mark.parametrize("late_s", [0, 4, 30, 59])
def test_a_task_that_is_shown_late_is_found_at_any_interval(interval_s, late_s):
    """A task ends every second, and every third one is listed so late."""
    back, found = LookingBack(), set()
    ended = 600 + 10 * int(interval_s)
    now_s = 0.0
    while now_s < ended + late_s + FAR_EVERY_S + 2 * interval_s:
        since = back.since(now_s)
        seen = {
            one
            for one in range(ended)
            if one + (0 if one % 3 else late_s) <= now_s and (since is None or at(one) >= since)
        }
        found |= seen
        back.listed(now_s, max(map(at, seen), default=None))
        now_s += interval_s

    assert found == set(range(ended))
