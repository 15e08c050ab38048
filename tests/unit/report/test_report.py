"""The figures of a report, and the page, from lines that are written down here."""

import re
from html.parser import HTMLParser

import pytest

from snakemake_executor_azurebatch.report.model import NoSuchRun, chosen, nodes_over_time, report_of, runs_of
from snakemake_executor_azurebatch.report.page import page


def line(task, start, end, **given):
    return {
        "version": 1, "run": "r1", "batch_job": "job-1", "pool": "p", "image": "i:1", "task": task, "rule": "a",
        "members": [{"rule": "a", "wildcards": {"s": "<1>"}}], "attempt": 1, "threads": 2,
        "resources": {"mem_mb": 100}, "node": "n1", "outcome": "succeeded", "cause": None, "exit_code": 0,
        "submitted_at": "2026-01-01T00:00:00+00:00", "started_at": f"2026-01-01T00:00:{start:02}+00:00",
        "ended_at": f"2026-01-01T00:00:{end:02}+00:00", "recorded_at": "2026-01-01T00:01:00+00:00",
        "timings_s": {"stage_in": 1.0, "command": 4.0, "stage_out": 1.0}, "peak_memory_bytes": 50_000_000, "cpu_s": 4.0,
        **given,
    }  # fmt: skip


ROWS = [
    line("t1", 0, 10),
    line("t2", 5, 15),
    line("t3", 20, 30, rule="b", outcome="failed", cause="COMMAND", exit_code=1, attempt=2),
    line("t4", 10, 20, node="n2", rule="b", tries=[{"cause": "NODE_LOST", "detail": "gone & lost", "node": "n0"}]),
]


def test_rows_gaps_and_changes():
    made = report_of(ROWS)
    assert [[[task.task_id for task in row] for row in node.rows] for node in made.nodes] == [
        [["t1", "t3"], ["t2"]],
        [["t4"]],
    ]
    assert [node.idle_s for node in made.nodes] == [5.0, 0.0]
    begin = made.begin_s
    assert [(t - begin, n, r) for t, n, r in nodes_over_time(made)] == [
        *((0, 1, 1), (5, 1, 2), (10, 2, 2), (15, 2, 1), (20, 1, 1), (30, 0, 0))
    ]


def test_rules_and_prices():
    made = report_of(ROWS, node_price=3.6)
    a, b = made.rules
    assert (a.count, a.failed, a.median_s, a.cores_used, a.core_share) == (2, 0, 10.0, 1.0, 0.5)
    assert (a.memory_share, a.staging_share) == (0.5, 0.2)
    assert (b.count, b.failed) == (2, 1)
    # 30 s of n1, 10 s of n2, at 0.001 per second; n1's are shared by three tasks of equal weight.
    assert a.price == pytest.approx(0.020)
    assert b.price == pytest.approx(0.020)
    assert made.causes == {"COMMAND": 1, "NODE_LOST": 1}


def test_nodes_that_azure_took_away_are_told():
    made = report_of([line("t", 0, 9, requeues=2), line("u", 0, 9, cause="KILLED", outcome="failed")])
    assert made.causes == {"REQUEUED": 2, "KILLED": 1}
    assert [task.was_smooth for task in made.tasks] == [False, False]
    shown = page(made)
    assert "<li>2: its node was lost or taken away, and Azure Batch has started it again</li>" in shown
    assert ", 2 times</span>" in shown
    assert "failed: it was killed before it could leave a commit record" in shown
    assert '<dd id="retried">1</dd>' in shown


def test_what_nobody_knows_is_no_number():
    bare = line("t", 0, 0, started_at=None, ended_at=None, submitted_at=None, node=None, timings_s={}, cpu_s=None)
    bare |= {"peak_memory_bytes": None, "resources": {}, "outcome": "failed", "cause": "NODE_LOST"}
    made = report_of([bare])
    assert made.nodes == []
    assert (made.rules[0].cores_used, made.rules[0].memory_share, made.rules[0].price) == (None, None, None)
    shown = page(made)
    assert "No task has come to a node." in shown
    assert '<th scope="col" role="columnheader">Price</th>' not in shown


def test_the_last_run_or_the_wanted_one():
    runs = runs_of([line("x", 0, 1), line("y", 0, 1, run="r2", batch_job="job-2"), line("z", 0, 1)])
    assert [row["task"] for row in chosen(runs, None)] == ["x", "z"]
    assert [row["task"] for row in chosen(runs, "job-2")] == ["y"]
    with pytest.raises(NoSuchRun, match="no run 'r3'; known: r2, r1"):
        chosen(runs, "r3")


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


def test_the_page_is_whole_and_needs_nothing_from_elsewhere():
    shown = page(report_of(ROWS, 1.0), currency="<EUR>")
    reader = Reader()
    reader.feed(shown)
    assert reader.open == []
    assert not re.search(r"https?://|<script|<link|@import|url\(", shown)
    assert "<1>" not in shown
    assert "<EUR>" not in shown
    assert "gone &amp; lost" in shown
    assert all(a.get("aria-hidden") or a.get("aria-label") for tag, a in reader.seen if tag == "svg")
    assert sum(tag == "g" for tag, _ in reader.seen) == len(ROWS)
    assert "prefers-color-scheme: dark" in shown


def test_a_page_about_many_tasks_is_light():
    rows = [line(f"task-{i:03}-0123456789", i % 50, i % 50 + 9, node=f"n{i % 10}") for i in range(200)]
    assert len(page(report_of(rows, 1.0)).encode()) < 1_000_000
