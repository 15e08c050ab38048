"""What the report tells of a run, computed from the lines of ``tasks.jsonl`` (pure). Times are seconds since 1970."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

#: Among the causes: a node was lost or taken away, and Azure Batch has started the task anew.
REQUEUED = "REQUEUED"


class NoSuchRun(Exception):
    """There is nothing to report about. The message says what there is."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task that has ended. None: nobody knows."""

    task_id: str
    rule: str
    wildcards: str
    node: str
    attempt: int
    threads: int
    outcome: str
    cause: str
    exit_code: int | None
    submitted_s: float | None
    started_s: float | None
    ended_s: float | None
    phases_s: Mapping[str, float]
    memory_asked_bytes: int | None
    peak_memory_bytes: int | None
    cpu_s: float | None
    tries: Sequence[Mapping[str, Any]]
    requeues: int  #: by Azure Batch itself, since its node was lost or taken away

    @property
    def was_smooth(self) -> bool:
        """Whether it succeeded at once."""
        return not (self.cause or self.tries or self.requeues) and self.attempt == 1

    @property
    def took_s(self) -> float:
        """Seconds on the node."""
        if self.started_s is None or self.ended_s is None:
            return 0.0
        return max(0.0, self.ended_s - self.started_s)

    @property
    def core_s(self) -> float:
        """Seconds on the node times cores requested."""
        return self.took_s * self.threads


@dataclass(frozen=True, slots=True)
class Node:
    """What one node did. ``rows``: its tasks, those that ran side by side in different rows."""

    node_id: str
    rows: Sequence[Sequence[Task]]
    gaps_s: Sequence[tuple[float, float]]  #: when nothing ran between its first and its last task

    @property
    def tasks(self) -> list[Task]:
        """All of them."""
        return [task for row in self.rows for task in row]

    @property
    def span_s(self) -> tuple[float, float]:
        """From the start of its first task to the end of its last."""
        tasks = self.tasks
        return min(t.started_s or 0.0 for t in tasks), max(t.ended_s or 0.0 for t in tasks)

    @property
    def idle_s(self) -> float:
        """Seconds of its gaps."""
        return sum(end - start for start, end in self.gaps_s)


@dataclass(frozen=True, slots=True)
class RuleUse:
    """What the tasks of one rule asked for and used."""

    rule: str
    count: int
    failed: int
    median_s: float
    total_s: float
    threads: int  #: the most that one asked for
    cores_used: float | None  #: on the average, while commands ran
    core_share: float | None  #: of the cores asked for
    memory_asked_bytes: int | None  #: the most that one asked for
    peak_memory_bytes: int | None  #: the most that one took
    memory_share: float | None
    staging_share: float  #: of the time on nodes
    price: float | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that the page shows."""

    run: str
    batch_jobs: Sequence[str]
    pools: Sequence[str]
    image: str
    tasks: Sequence[Task]
    nodes: Sequence[Node]
    rules: Sequence[RuleUse]
    causes: Mapping[str, int]  #: of failures, and of tries that came to nothing
    begin_s: float
    end_s: float

    @property
    def wall_s(self) -> float:
        """From the first submission to the end of the last task."""
        return self.end_s - self.begin_s

    @property
    def failed(self) -> int:
        """Tasks that failed for good."""
        return sum(task.outcome != "succeeded" for task in self.tasks)


def runs_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The lines by run, the run that wrote the last line last."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        run = str(row.get("run", ""))
        found[run] = [*found.pop(run)] if run in found else []
        found[run].append(row)
    return found


def chosen(runs: Mapping[str, list[Mapping[str, Any]]], wanted: str | None) -> list[Mapping[str, Any]]:
    """The lines of the wanted run (its id, or its Batch job's), else of the last one. Raises NoSuchRun."""
    if not runs:
        raise NoSuchRun("no task of any run has ended yet")
    if wanted is None:
        return list(runs.values())[-1]
    for run, rows in runs.items():
        if wanted == run or any(wanted == row.get("batch_job") for row in rows):
            return rows
    raise NoSuchRun(f"there is no run {wanted!r}; known: {', '.join(runs)}")


def report_of(rows: Sequence[Mapping[str, Any]], node_price: float | None = None) -> RunReport:
    """The report on these lines of one run. ``node_price``: of a node for an hour, in whatever currency."""
    tasks = [_task(row) for row in rows]
    nodes = _nodes(tasks)
    prices = _prices(nodes, node_price)
    times = [t for task in tasks for t in (task.submitted_s, task.started_s, task.ended_s) if t is not None]
    return RunReport(
        run=str(rows[0].get("run", "")),
        batch_jobs=_distinct(rows, "batch_job"),
        pools=_distinct(rows, "pool"),
        image=", ".join(_distinct(rows, "image")),
        tasks=tasks,
        nodes=nodes,
        rules=_rules(tasks, prices),
        causes=_causes(tasks),
        begin_s=min(times, default=0.0),
        end_s=max(times, default=0.0),
    )


def nodes_over_time(report: RunReport) -> list[tuple[float, int, int]]:
    """At each change: (time, nodes between their first and last task, tasks running)."""
    changes: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
    for node in report.nodes:
        for time_s, step in zip(node.span_s, (1, -1), strict=True):
            changes[time_s][0] += step
        for task in node.tasks:
            changes[task.started_s or 0.0][1] += 1
            changes[task.ended_s or 0.0][1] -= 1
    points: list[tuple[float, int, int]] = []
    nodes = running = 0
    for time_s in sorted(changes):
        nodes, running = nodes + changes[time_s][0], running + changes[time_s][1]
        if not points or points[-1][1:] != (nodes, running):
            points.append((time_s, nodes, running))
    return points


def _task(row: Mapping[str, Any]) -> Task:
    asked = row.get("resources", {}).get("mem_mb")
    return Task(
        task_id=str(row["task"]),
        rule=str(row["rule"]),
        wildcards=_wildcards(row),
        node=str(row.get("node") or ""),
        attempt=int(row.get("attempt") or 1),
        threads=max(1, int(row.get("threads") or 1)),
        outcome=str(row.get("outcome")),
        cause=str(row.get("cause") or ""),
        exit_code=row.get("exit_code"),
        submitted_s=_seconds(row.get("submitted_at")),
        started_s=_seconds(row.get("started_at")),
        ended_s=_seconds(row.get("ended_at")),
        phases_s=row.get("timings_s") or {},
        memory_asked_bytes=int(asked * 1_000_000) if isinstance(asked, int | float) else None,
        peak_memory_bytes=row.get("peak_memory_bytes"),
        cpu_s=row.get("cpu_s"),
        tries=row.get("tries") or (),
        requeues=int(row.get("requeues") or 0),
    )


def _wildcards(row: Mapping[str, Any]) -> str:
    members = row.get("members") or ()
    if len(members) > 1:
        return f"{len(members)} jobs"
    return ", ".join(f"{name}={value}" for member in members for name, value in member["wildcards"].items())


def _seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _distinct(rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows if row.get(name)))


def _nodes(tasks: Iterable[Task]) -> list[Node]:
    by_node: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        if task.node and task.started_s is not None and task.ended_s is not None:
            by_node[task.node].append(task)
    nodes = [Node(node_id, _side_by_side(of_node), _gaps(of_node)) for node_id, of_node in by_node.items()]
    return sorted(nodes, key=lambda node: (node.span_s, node.node_id))


def _side_by_side(tasks: Iterable[Task]) -> list[list[Task]]:
    rows: list[list[Task]] = []
    for task in sorted(tasks, key=lambda task: (task.started_s or 0.0, task.task_id)):
        free = next((row for row in rows if (row[-1].ended_s or 0.0) <= (task.started_s or 0.0)), None)
        if free is None:
            rows.append([task])
        else:
            free.append(task)
    return rows


def _gaps(tasks: Iterable[Task]) -> list[tuple[float, float]]:
    gaps: list[tuple[float, float]] = []
    busy_until_s: float | None = None
    for task in sorted(tasks, key=lambda task: task.started_s or 0.0):
        if busy_until_s is not None and (task.started_s or 0.0) > busy_until_s:
            gaps.append((busy_until_s, task.started_s or 0.0))
        busy_until_s = max(busy_until_s or 0.0, task.ended_s or 0.0)
    return gaps


def _rules(tasks: Iterable[Task], prices: Mapping[str, float] | None) -> list[RuleUse]:
    by_rule: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        by_rule[task.rule].append(task)
    return [_rule(rule, of_rule, prices) for rule, of_rule in sorted(by_rule.items())]


def _rule(rule: str, tasks: Sequence[Task], prices: Mapping[str, float] | None) -> RuleUse:
    measured = [(task.cpu_s, task.phases_s["command"], task.threads) for task in tasks if _is_measured(task)]
    cpu_s = sum(cpu or 0.0 for cpu, _, _ in measured)
    command_s = sum(seconds for _, seconds, _ in measured)
    asked_s = sum(seconds * threads for _, seconds, threads in measured)
    total_s = sum(task.took_s for task in tasks)
    staged_s = sum(task.phases_s.get(phase, 0.0) for task in tasks for phase in ("setup", "stage_in", "stage_out"))
    asked = max((t.memory_asked_bytes for t in tasks if t.memory_asked_bytes), default=None)
    peak = max((t.peak_memory_bytes for t in tasks if t.peak_memory_bytes), default=None)
    return RuleUse(
        rule=rule,
        count=len(tasks),
        failed=sum(task.outcome != "succeeded" for task in tasks),
        median_s=median(task.took_s for task in tasks),
        total_s=total_s,
        threads=max(task.threads for task in tasks),
        cores_used=cpu_s / command_s if command_s else None,
        core_share=cpu_s / asked_s if asked_s else None,
        memory_asked_bytes=asked,
        peak_memory_bytes=peak,
        memory_share=peak / asked if peak and asked else None,
        staging_share=min(1.0, staged_s / total_s) if total_s else 0.0,
        price=None if prices is None else prices.get(rule, 0.0),
    )


def _is_measured(task: Task) -> bool:
    return task.cpu_s is not None and task.phases_s.get("command", 0.0) > 0


def _prices(nodes: Iterable[Node], node_price: float | None) -> dict[str, float] | None:
    """By rule. The time of a node, idle time too, is shared by its tasks as they kept cores for themselves."""
    if node_price is None:
        return None
    prices: defaultdict[str, float] = defaultdict(float)
    for node in nodes:
        start_s, end_s = node.span_s
        of_node, cores_s = (end_s - start_s) / 3600 * node_price, sum(task.core_s for task in node.tasks)
        for task in node.tasks:
            prices[task.rule] += of_node * task.core_s / cores_s if cores_s else 0.0
    return dict(prices)


def _causes(tasks: Iterable[Task]) -> dict[str, int]:
    counted = Counter(task.cause for task in tasks if task.cause)
    counted.update(str(one.get("cause")) for task in tasks for one in task.tries)
    counted.update({REQUEUED: sum(task.requeues for task in tasks)})
    return {cause: count for cause, count in counted.most_common() if count}
