"""The logs of the service: one JSON line per request, or per run of a task, written at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from snakemake_executor_azurebatch.emulator.wire import Json, time_text


class LineLog:
    """Appends JSON lines, each with its time. Nothing that may carry a secret is written: no query, header or body.

    A line of the request log has method, route (the template), status, duration_ms, client, and ``items`` for a
    collection of tasks; one of the task log is described in ``tasklog``.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def write(self, moment: datetime, entry: Json) -> None:
        """Append one line."""
        self._stream.write(json.dumps({"time": time_text(moment), **entry}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class OperationSummary:
    """How often an operation was called, and how it was answered."""

    operation: str  #: method and route
    count: int
    statuses: Mapping[int, int]  #: how many answers had it; 0: the connection was cut on purpose
    p50_ms: float
    p95_ms: float


def summary(entries: Iterable[Mapping[str, Any]]) -> list[OperationSummary]:
    """One line per operation, the most frequent first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(f"{entry['method']} {entry['route'] or '(unknown)'}", []).append(entry)
    lines = [_summary_of(operation, group) for operation, group in groups.items()]
    return sorted(lines, key=lambda line: (-line.count, line.operation))


def _summary_of(operation: str, entries: list[Mapping[str, Any]]) -> OperationSummary:
    durations_ms = sorted(float(entry["duration_ms"]) for entry in entries)
    statuses = Counter(int(entry["status"]) for entry in entries)
    half, most = (durations_ms[max(0, -(-len(durations_ms) * share // 100) - 1)] for share in (50, 95))
    return OperationSummary(operation, len(entries), dict(sorted(statuses.items())), half, most)


def client_name(user_agent: str) -> str:
    """The first product of a User-Agent header that says who it is: ``azsdk-python-batch/15.1.0``."""
    return user_agent.split(" ", 1)[0]
