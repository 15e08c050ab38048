"""When to look, and when a listing is worth its while."""

from snakemake_executor_azurebatch.run.pace import LIST_ANYHOW, Counts, Pace

RUNNING, WAITING = Counts(5, 2, 1), Counts(5, 0, 1)


def quiet() -> Pace:
    pace = Pace(2.0)
    for found in (1, 1, 0):
        pace.listed(found)
    assert pace.wants_listing(RUNNING), "nothing is known yet"
    return pace


def test_while_tasks_finish_the_counts_are_not_asked_for():
    pace = Pace(2.0)
    assert not pace.is_quiet
    pace.listed(3)
    assert not pace.is_quiet
    pace.listed(0)
    assert pace.is_quiet


def test_only_another_number_is_worth_a_listing_but_now_and_then_any():
    pace = quiet()
    assert [pace.wants_listing(RUNNING) for _ in range(LIST_ANYHOW + 2)] == [*[False] * LIST_ANYHOW, True, False]
    assert pace.wants_listing(Counts(5, 1, 2))
    assert not pace.wants_listing(Counts(5, 1, 2))


def test_a_task_that_was_added_or_removed_makes_numbers_worthless():
    pace = quiet()
    pace.disturbed()
    assert pace.wants_listing(RUNNING)


def test_where_nothing_can_finish_pauses_grow_and_end_with_the_first_task_that_runs():
    pace = quiet()
    pauses = []
    for _ in range(4):
        pace.wants_listing(WAITING)
        pauses.append(pace.pause_s)
    assert pauses == [3.0, 4.5, 6.0, 6.0]
    pace.wants_listing(RUNNING)
    assert pace.pause_s == 2.0


def test_what_is_added_is_looked_at_soon():
    pace = quiet()
    pace.wants_listing(WAITING)
    pace.disturbed()
    assert pace.pause_s == 2.0


def test_the_first_looks_follow_each_other_quicker():
    pace = Pace(2.0)
    pauses = [pace.pause_s]
    for _ in range(4):
        pace.listed(1)
        pauses.append(pace.pause_s)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]
    pace.disturbed()
    assert pace.pause_s == 2.0, "there was something to watch all the time"
    pace.begun()
    pace.disturbed()
    assert pace.pause_s == 0.25
