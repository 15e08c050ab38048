"""The report as one HTML page: no scripts, nothing from elsewhere (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from snakemake_executor_azurebatch.report import figures
from snakemake_executor_azurebatch.report.model import REQUEUED, Node, RuleUse, RunReport, Task
from snakemake_executor_azurebatch.report.words import cause, moment, seconds, size


def page(report: RunReport, *, currency: str = "") -> str:
    """The whole page. ``currency`` is put behind prices."""
    style = files("snakemake_executor_azurebatch.report").joinpath("style.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>Run {escape(report.run)} on Azure Batch</title><style>{style}</style></head><body><main>",
            _head(report),
            _timelines(report),
            (
                f"<section><h2>Nodes over time</h2>{_legend(_OVER_TIME)}{figures.axis(report)}{figures.usage(report)}"
                '<p class="note">A node counts from the start of its first task to the end of its last; time before '
                "and after that is not known here.</p></section>"
            ),
            _rules(report, currency),
            _troubles(report),
            _tasks(report.tasks),
            "</main></body></html>\n",
        ]
    )


_TIMELINE = (
    ("command", "command"),
    ("staging", "staging"),
    ("around", "start and end of the task"),
    ("command failed", "failed"),
)
_OVER_TIME = (("nodes", "nodes in use"), ("running", "tasks running"))


def _head(report: RunReport) -> str:
    idle_s = sum(node.idle_s for node in report.nodes)
    retried = sum(task.attempt > 1 or bool(task.tries or task.requeues) for task in report.tasks)
    tiles = (
        ("tasks", "Tasks", str(len(report.tasks))),
        ("failed", "Failed", str(report.failed)),
        ("retried", "Tried again", str(retried)),
        ("nodes", "Nodes", str(len(report.nodes))),
        ("wall", "Took", seconds(report.wall_s)),
        ("idle", "Nodes idle between tasks", seconds(idle_s)),
    )
    shown = "".join(f'<div><dt>{title}</dt><dd id="{name}">{value}</dd></div>' for name, title, value in tiles)
    where = f"Batch job {', '.join(report.batch_jobs)} on pool {', '.join(report.pools)}"
    image = f", image {report.image}" if report.image else ""
    return (
        f"<header><h1>Run {escape(report.run)}</h1><p>{moment(report.begin_s)}. {escape(where + image)}.</p>"
        f'<dl class="tiles">{shown}</dl></header>'
    )


def _timelines(report: RunReport) -> str:
    if not report.nodes:
        return "<section><h2>Who ran where</h2><p>No task has come to a node.</p></section>"
    lanes = "".join(
        f"<h3>{_node_name(index, node)}</h3>{figures.timeline(report, node)}"
        for index, node in enumerate(report.nodes, 1)
    )
    return (
        f"<section><h2>Who ran where</h2>{_legend((*_TIMELINE, ('gap', 'idle')))}{figures.axis(report)}{lanes}"
        '<p class="note">Rest a pointer on a bar to read what it is; the table of tasks at the end says the same.</p>'
        "</section>"
    )


def _node_name(index: int, node: Node) -> str:
    return (
        f"Node {index} <span>{len(node.tasks)} tasks, idle {seconds(node.idle_s)}</span> "
        f"<code>{escape(node.node_id)}</code>"
    )


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    keys = "".join(
        f'<li><svg width="14" height="12" aria-hidden="true"><rect class="{name}" width="14" height="12"/></svg> '
        f"{title}</li>"
        for name, title in entries
    )
    return f'<ul class="legend">{keys}</ul>'


def _table(name: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """``rows`` hold HTML. On a phone each row becomes a card, with the column's name before each value."""
    titles = list(columns)
    head = "".join(f'<th scope="col" role="columnheader">{title}</th>' for title in titles)
    body = "".join(f'<tr role="row">{_cells(titles, row)}</tr>' for row in rows)
    return (
        f'<table id="{name}" role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _cells(titles: list[str], row: Iterable[str]) -> str:
    return "".join(
        f'<td role="cell" data-of="{escape(title, quote=True)}"><span>{value}</span></td>'
        for title, value in zip(titles, row, strict=True)
    )


def _rules(report: RunReport, currency: str) -> str:
    has_price = any(rule.price is not None for rule in report.rules)
    columns = [
        "Rule",
        "Tasks",
        "Median",
        "Total",
        "Staging",
        "Cores asked",
        "Cores used",
        "Memory asked",
        "Memory peak",
    ]
    rows = [[*_rule(rule), *([f"{rule.price:.3g} {escape(currency)}"] if has_price else [])] for rule in report.rules]
    note = "Cores used: CPU time by the time of the command. Memory: the most that a task of the rule took."
    if has_price:
        columns.append("Price")
        note += " Price: the time of nodes between their first and last task, idle time too, shared by cores asked for."
    return (
        f"<section><h2>Asked for and used, by rule</h2>{_table('rules', columns, rows)}"
        f'<p class="note">{note}</p></section>'
    )


def _rule(rule: RuleUse) -> list[str]:
    failed = f", {rule.failed} failed" if rule.failed else ""
    cores = "not known" if rule.cores_used is None else f"{rule.cores_used:.2f} {figures.meter(rule.core_share)}"
    share = figures.meter(rule.memory_share) if rule.memory_share is not None else ""
    return [
        escape(rule.rule),
        f"{rule.count}{failed}",
        seconds(rule.median_s),
        seconds(rule.total_s),
        f"{rule.staging_share:.0%}",
        str(rule.threads),
        cores,
        "nothing" if rule.memory_asked_bytes is None else size(rule.memory_asked_bytes),
        f"{size(rule.peak_memory_bytes)} {share}",
    ]


def _troubles(report: RunReport) -> str:
    troubled = [task for task in report.tasks if not task.was_smooth]
    if not troubled:
        return "<section><h2>Retries and failures</h2><p>None: every task succeeded at its first try.</p></section>"
    counted = "".join(f"<li>{count}: {escape(cause(name))}</li>" for name, count in report.causes.items())
    rows = (
        [
            escape(task.task_id),
            str(task.attempt),
            escape(task.outcome + (f": {cause(task.cause)}" if task.cause else "")),
            "none" if task.exit_code is None else str(task.exit_code),
            _earlier(task),
        ]
        for task in troubled
    )
    columns = ("Task", "Attempt", "Outcome", "Exit code", "Infrastructure failed before")
    return f"<section><h2>Retries and failures</h2><ul>{counted}</ul>{_table('troubles', columns, rows)}</section>"


def _earlier(task: Task) -> str:
    tries = [escape(f"{cause(str(one.get('cause')))}: {one.get('detail')}") for one in task.tries]
    if task.requeues:
        tries.append(f"{cause(REQUEUED)}, {'once' if task.requeues == 1 else f'{task.requeues} times'}")
    return "; ".join(tries) or "none"


def _tasks(tasks: Iterable[Task]) -> str:
    rows = (
        [
            escape(task.task_id),
            escape(f"{task.rule} ({task.wildcards})" if task.wildcards else task.rule),
            escape(task.node[:14]) or "none",
            moment(task.started_s)[11:19] or "never",
            seconds(task.took_s),
            escape(task.outcome),
        ]
        for task in sorted(tasks, key=lambda task: task.started_s or 0.0)
    )
    columns = ("Task", "Job", "Node", "Started (UTC)", "Took", "Outcome")
    return f"<section><details><summary>All tasks</summary>{_table('all', columns, rows)}</details></section>"
