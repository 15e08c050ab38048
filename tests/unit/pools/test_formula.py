"""The formula of a leased pool, in the interpreter of the local service."""

from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.emulator.autoscale import Context, SampleStore, check, evaluate
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.formula import (
    MOST_LINES,
    Bounds,
    Line,
    formula_of,
    is_lease,
    lines_of,
    with_line,
    without_line,
)

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
SOON = NOW + timedelta(minutes=10)
PAST = NOW - timedelta(seconds=1)
BOUNDS = Bounds(Span(0, 4), Span(0, 20), slots=4)


def samples(*tasks, now=NOW):
    """One sample every 30 s, the newest readable now."""
    store = SampleStore(delay=timedelta(0))
    for number, count in enumerate(tasks):
        store.record(now - timedelta(seconds=30) * (len(tasks) - 1 - number), {"$PendingTasks": count})
    return store


def targets(lines, *tasks, bounds=BOUNDS, now=NOW, current=(0, 0)):
    formula = formula_of(lines, bounds)
    assert check(formula) == ()
    found = evaluate(formula, Context(now, *current, samples=samples(*tasks, now=now)))
    assert found.error is None, found.error
    assert found.node_deallocation_option == "taskcompletion"
    return found.target_dedicated, found.target_low_priority


@pytest.mark.parametrize(
    ("nodes", "expected"), [(0, (0, 0)), (1, (1, 0)), (4, (4, 0)), (5, (4, 1)), (24, (4, 20)), (500, (4, 20))]
)
def test_a_lease_gives_its_nodes_between_fewest_and_most_dedicated_ones_first(nodes, expected):
    assert targets([Line("a", SOON, nodes, 1)]) == expected


def test_two_runs_add_their_shares():
    assert targets([Line("a", SOON, 3, 9), Line("b", SOON, 4, 4)]) == (4, 3)


def test_when_the_lease_has_ended_tasks_count_with_what_each_takes_of_a_node():
    line = Line("a", PAST, 50, 200)
    assert targets([line], 200) == (4, 20)
    assert targets([line], 20) == (4, 1)
    assert targets([line], 1) == (1, 0)
    assert targets([line], 0) == (0, 0)


def test_what_two_runs_want_is_averaged_over_their_tasks():
    """70 nodes for 220 tasks, though a task of one run takes four times what one of the other does."""
    lines = [Line("a", PAST, 50, 200), Line("b", PAST, 20, 20)]
    assert targets(lines, 220, bounds=Bounds(Span(0, 1000))) == (70, 0)


@pytest.mark.parametrize("tasks", [1, 3, 7, 9, 220, 9_999, 100_000])
def test_as_many_nodes_as_the_run_had_wanted_for_its_tasks(tasks):
    nodes = -(-tasks // 3)
    assert targets([Line("a", PAST, nodes, tasks)], tasks, bounds=Bounds(Span(0, 10**6))) == (nodes, 0)


def test_a_task_that_takes_almost_nothing_of_a_node_gets_one():
    assert targets([], 1, bounds=Bounds(Span(0, 2), slots=256)) == (1, 0)


def test_a_living_lease_grows_by_what_waits_beyond_it():
    """No change is possible while the pool is being resized: the formula is right on its own."""
    assert targets([Line("a", SOON, 2, 8)], 40) == (4, 6)


def test_without_samples_a_lease_counts_and_else_nobody_waits():
    assert targets([Line("a", SOON, 3, 12)]) == (3, 0)
    assert targets([Line("a", PAST, 3, 12)], current=(3, 0)) == (0, 0)
    assert targets([], current=(3, 0)) == (0, 0)


def test_samples_that_are_long_missing_count_for_nothing():
    formula = formula_of([Line("a", PAST, 3, 12)], BOUNDS)
    old = samples(12, 12, now=NOW - timedelta(minutes=11))
    found = evaluate(formula, Context(NOW, 3, 0, samples=old))
    assert (found.error, found.target_dedicated) == (None, 0)


def test_the_fewest_nodes_are_there_while_a_run_is_and_the_standing_ones_always():
    bounds = Bounds(Span(2, 4, standing=1), Span(1, 20), slots=4)
    assert targets([Line("a", SOON, 0, 0)], 0, bounds=bounds) == (2, 1)
    assert targets([Line("a", PAST, 0, 0)], 0, bounds=bounds) == (1, 0)
    assert targets([], 0, bounds=bounds) == (1, 0)
    assert targets([Line("a", SOON, 6, 24)], 0, bounds=bounds) == (4, 2)


def test_lines_are_read_back():
    lines = [Line("0a", SOON, 3, 9), Line("b1", PAST, 4, 4)]
    formula = formula_of(lines, BOUNDS)
    assert is_lease(formula)
    assert lines_of(formula) == lines


@pytest.mark.parametrize("formula", [None, "", "$TargetDedicatedNodes = 1;"])
def test_a_formula_of_somebody_else_has_no_lines(formula):
    assert not is_lease(formula)
    assert lines_of(formula) == []


def test_a_run_changes_its_own_line_and_no_other():
    other = Line("b", SOON, 4, 4)
    lines = with_line([Line("a", PAST, 1, 1), other], Line("a", SOON, 3, 9), NOW)
    assert lines == [Line("a", SOON, 3, 9), other]
    assert without_line(lines, "a", NOW) == [other]


def test_lines_of_runs_that_are_long_gone_are_dropped():
    old = Line("b", NOW - timedelta(days=1), 4, 4)
    recent = Line("c", NOW - timedelta(hours=23), 4, 4)
    assert with_line([old, recent], Line("a", SOON, 1, 1), NOW) == [Line("a", SOON, 1, 1), recent]
    assert without_line([old], "a", NOW) == []


def test_the_text_stays_within_the_limits_of_the_service():
    """8 KB and 100 statements."""
    lines = []
    for number in range(MOST_LINES + 5):
        line = Line(f"{number:010x}", SOON + timedelta(seconds=number), 10_000, 1_000_000)
        lines = with_line(lines, line, NOW)
    assert len(lines) == MOST_LINES
    assert lines[0].run == f"{5:010x}"
    formula = formula_of(lines, Bounds(Span(1, 10_000, 1), Span(1, 10_000, 1), 256))
    assert check(formula) == ()
    assert len(formula.encode()) < 8 * 1024
    assert formula.count(";") < 100


def test_the_text_is_small_and_can_be_read():
    assert formula_of([Line("3f2a", SOON, 5, 20)], Bounds(Span(1, 4), Span(0, 20), 4)) == (
        """\
// Sizes this pool for snakemake (executor azurebatch), as docs/pools.md says.
// Each run has a line: until then it wants so many nodes. -1: nobody is there any more.
run_3f2a = time() < time("2026-03-02T08:10:00Z") ? 5 : -1; // for 20 tasks
leased = max(0, run_3f2a);
alive = run_3f2a >= 0;
// What tasks need that wait or run, as far as samples tell; where there are none, nobody waits.
seen = $PendingTasks.GetSamplePercent(10 * TimeInterval_Minute) > 0;
tasks = seen ? max(0, $PendingTasks.GetSample(1)) : 0;
wanted = max(leased, tasks * 0.250000000 + 0.999);
// Dedicated nodes first; the fraction is dropped.
fewestDedicated = alive ? 1 : 0;
fewestSpot = 0;
dedicated = max(fewestDedicated, min(4, wanted));
spot = max(fewestSpot, min(20, wanted - dedicated));
$TargetDedicatedNodes = dedicated;
$TargetLowPriorityNodes = spot;
$NodeDeallocationOption = taskcompletion;"""
    )
