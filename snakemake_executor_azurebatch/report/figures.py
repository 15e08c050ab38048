"""The figures of the report, as inline SVG (pure).

Places along the time axis are in per cent, so that a figure fits any width while its text keeps its size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape

from snakemake_executor_azurebatch.report.model import Node, RunReport, Task, nodes_over_time
from snakemake_executor_azurebatch.report.words import cause, seconds

ROW_PX, BAR_PX = 16, 12
CHART_PX = 120
TICKS = 4


def axis(report: RunReport) -> str:
    """Times since the begin of the run."""
    marks = []
    for index in range(TICKS + 1):
        anchor = "start" if index == 0 else "end" if index == TICKS else "middle"
        label = seconds(report.wall_s * index / TICKS)
        marks.append(f'<text x="{100 * index / TICKS:g}%" y="12" text-anchor="{anchor}">{label}</text>')
    return f'<svg class="axis" width="100%" height="16" aria-hidden="true">{"".join(marks)}</svg>'


def timeline(report: RunReport, node: Node) -> str:
    """The tasks of one node: a bar for each, staging and command told apart."""
    height = ROW_PX * len(node.rows)
    grid = "".join(
        f'<line class="grid" x1="{100 * i / TICKS:g}%" x2="{100 * i / TICKS:g}%" y1="0" y2="{height}"/>'
        for i in range(TICKS + 1)
    )
    gaps = "".join(_box(report, "gap", (start, end), (0, height)) for start, end in node.gaps_s)
    bars = "".join(_bar(report, task, ROW_PX * index + 2) for index, row in enumerate(node.rows) for task in row)
    said = escape(f"{len(node.tasks)} tasks, idle for {seconds(node.idle_s)} between them", quote=True)
    return f'<svg class="lane" width="100%" height="{height}" role="img" aria-label="{said}">{grid}{gaps}{bars}</svg>'


def usage(report: RunReport) -> str:
    """Nodes in use and tasks running, over time."""
    points = nodes_over_time(report)
    most = max((max(nodes, running) for _, nodes, running in points), default=0) or 1
    most_nodes = max((nodes for _, nodes, _ in points), default=0)
    most_running = max((running for _, _, running in points), default=0)
    areas = []
    for (start, nodes, running), (end, *_) in itertools.pairwise(points):
        for name, count in (("running", running), ("nodes", nodes)):
            height = CHART_PX * count / most
            top = (CHART_PX - height, height if name == "running" else 2)
            areas.append(_box(report, name, (start, end), top) if count else "")
    said = f"At most {most_nodes} nodes in use and {most_running} tasks running at a time."
    return (
        f'<p class="note">{said}</p><svg class="chart" width="100%" height="{CHART_PX}" role="img" '
        f'aria-label="{said}">{"".join(areas)}</svg>'
    )


def meter(share: float | None) -> str:
    """A share as a small bar with its number."""
    if share is None:
        return '<span class="none">not known</span>'
    width = min(100.0, 100 * share)
    warning = " over" if share > 1 else ""
    return (
        f'<span class="meter{warning}"><svg width="56" height="8" aria-hidden="true"><rect class="back" width="56" '
        f'height="8"/><rect class="fill" width="{width:.0f}%" height="8"/></svg> {share:.0%}</span>'
    )


def _bar(report: RunReport, task: Task, top: int) -> str:
    label = escape(_label(task))
    boxes = "".join(_box(report, name, span, (top, BAR_PX)) for name, span in _spans(task))
    return f"<g><title>{label}</title>{boxes}</g>"


def _spans(task: Task) -> Iterator[tuple[str, tuple[float, float]]]:
    """The phases of a task in the order of time; what no phase accounts for (the start of a container) comes first."""
    start_s, end_s = task.started_s or 0.0, task.ended_s or 0.0
    failed = " failed" if task.outcome != "succeeded" else ""
    yield f"around{failed}", (start_s, end_s)
    after_s = task.phases_s.get("stage_out", 0.0)
    command_s = task.phases_s.get("command", 0.0)
    before_s = task.phases_s.get("setup", 0.0) + task.phases_s.get("stage_in", 0.0)
    at_s = max(start_s, end_s - after_s - command_s - before_s)
    for name, length_s in (("staging", before_s), (f"command{failed}", command_s), ("staging", after_s)):
        if length_s > 0 and at_s < end_s:
            yield name, (at_s, min(end_s, at_s + length_s))
        at_s += length_s


def _label(task: Task) -> str:
    ended = task.outcome + (f" ({cause(task.cause)})" if task.cause else "")
    who = f"{task.rule} ({task.wildcards})" if task.wildcards else task.rule
    staged_s = sum(task.phases_s.get(phase, 0.0) for phase in ("setup", "stage_in", "stage_out"))
    return f"{who}: {ended} after {seconds(task.took_s)}, {seconds(staged_s)} of it staging. Task {task.task_id}"


def _box(report: RunReport, name: str, span_s: tuple[float, float], y_px: tuple[float, float]) -> str:
    whole_s = report.wall_s or 1.0
    left, right = (100 * (time_s - report.begin_s) / whole_s for time_s in span_s)
    return (
        f'<rect class="{name}" x="{left:.2f}%" width="{max(0.05, right - left):.2f}%" '
        f'y="{y_px[0]:.4g}" height="{y_px[1]:.4g}"/>'
    )
