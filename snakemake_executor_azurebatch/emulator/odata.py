"""The ``$filter`` language: parsed once into a predicate over a resource's wire form.

Property names are case-sensitive, values are not. Only the properties and operators that the service
documents per resource are accepted (source: public documentation, "Filter and select"); others are
refused with 400. Assumed: a missing property equals nothing and differs from everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from snakemake_executor_azurebatch.emulator.wire import Json, JsonValue, parse_time, time_text

Predicate = Callable[[Json], bool]


class FilterError(Exception):
    """A filter that the service would refuse; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property that can be filtered on: ``kind`` is text, number, flag or time."""

    kind: str
    operators: frozenset[str]


_EQ = frozenset({"eq"})
_EQ_NE = frozenset({"eq", "ne"})
_ORDER = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_ID = Property("text", _ORDER | {"startswith"})
_TIME = Property("time", _ORDER)
_NUMBER = Property("number", _ORDER)
_STATE_EQ = Property("text", _EQ)
_STATE_NE = Property("text", _EQ_NE)
_FLAG = Property("flag", _EQ_NE)

_TIMES = {"stateTransitionTime": _TIME, "creationTime": _TIME, "lastModified": _TIME}
_RUN_TIMES = {"executionInfo/startTime": _TIME, "executionInfo/endTime": _TIME}


def _execution(name: str) -> dict[str, Property]:
    """Properties of how a start, preparation or release task ran."""
    return {
        f"{name}/state": _STATE_EQ,
        f"{name}/result": _STATE_NE,
        f"{name}/exitCode": _NUMBER,
        f"{name}/startTime": _TIME,
        f"{name}/endTime": _TIME,
    }


POOLS: Mapping[str, Property] = {
    "id": _ID,
    "state": _STATE_NE,
    "allocationState": _STATE_NE,
    "vmSize": _STATE_NE,
    "enableAutoScale": _FLAG,
    "enableInterNodeCommunication": _FLAG,
    "allocationStateTransitionTime": _TIME,
    **_TIMES,
}
NODES: Mapping[str, Property] = {
    "state": _STATE_NE,
    "stateTransitionTime": _TIME,
    "lastBootTime": _TIME,
    "allocationTime": _TIME,
    **_execution("startTaskInfo"),
}
JOBS_OF_SCHEDULE: Mapping[str, Property] = {
    "state": _STATE_NE,
    "executionInfo/poolId": _ID,
    **_TIMES,
    **_RUN_TIMES,
}
JOBS: Mapping[str, Property] = {"id": _ID, **JOBS_OF_SCHEDULE}
JOB_SCHEDULES: Mapping[str, Property] = {
    "id": _ID,
    "state": _STATE_NE,
    "executionInfo/endTime": _TIME,
    "schedule/doNotRunUntil": _TIME,
    "schedule/doNotRunAfter": _TIME,
    **_TIMES,
}
#: Per node: what became of a job's preparation and release tasks.
JOB_TASK_STATUSES: Mapping[str, Property] = {
    "poolId": _STATE_NE,
    "nodeId": _STATE_NE,
    **_execution("jobPreparationTaskExecutionInfo"),
    **_execution("jobReleaseTaskExecutionInfo"),
}
NODE_COUNTS: Mapping[str, Property] = {"poolId": _STATE_EQ}
USAGE_METRICS: Mapping[str, Property] = {"poolId": Property("text", _ORDER - {"ne"} | {"startswith"})}
SUPPORTED_IMAGES: Mapping[str, Property] = {
    "osType": _STATE_NE,
    "verificationType": _STATE_NE,
    "nodeAgentSKUId": _STATE_NE,
}
TASKS: Mapping[str, Property] = {
    "id": _ID,
    "state": _STATE_EQ,
    "executionInfo/exitCode": _NUMBER,
    "executionInfo/result": _STATE_NE,
    **_TIMES,
    **_RUN_TIMES,
}
FILES: Mapping[str, Property] = {"name": Property("text", frozenset({"startswith"}))}

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": eq, "ne": ne, "gt": gt, "ge": ge, "lt": lt, "le": le,
}  # fmt: skip
_MAX_DEPTH = 32
_MAX_DIGITS = 18
_TOKEN = re.compile(
    r"\s*(?:(?P<time>[Dd]ate[Tt]ime'[^']*')|(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)"
    r"|(?P<name>[A-Za-z_][\w/]*)|(?P<mark>[(),]))"
)


def parse(text: str, properties: Mapping[str, Property]) -> Predicate:
    """Compile a filter. Raises FilterError.

    filter = both ("or" both)*;  both = part ("and" part)*
    part = "(" filter ")" | "startswith" "(" name "," literal ")" | name operator literal
    (parentheses at most 32 deep)
    literal = 'text' | DateTime'time' | integer | true | false
    """
    parser = _Parser(_tokens(text), properties)
    predicate = parser.either()
    if parser.tokens:
        raise FilterError(f"unexpected {parser.tokens[0][1]!r}")
    return predicate


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise FilterError(f"unexpected text at column {position + 1}: {text[position : position + 20]!r}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        position = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], properties: Mapping[str, Property]) -> None:
        self.tokens = tokens
        self._properties = properties
        self._depth = 0

    def either(self) -> Predicate:
        """filter = both ("or" both)*"""
        parts = [self._both()]
        while self._accept("or"):
            parts.append(self._both())
        if len(parts) <= 2:  # without a loop: listings of many tasks spend their time here
            first, last = parts[0], parts[-1]
            return first if first is last else lambda wire: first(wire) or last(wire)
        return lambda wire: any(part(wire) for part in parts)

    def _both(self) -> Predicate:
        """both = part ("and" part)*"""
        parts = [self._part()]
        while self._accept("and"):
            parts.append(self._part())
        if len(parts) <= 2:
            first, last = parts[0], parts[-1]
            return first if first is last else lambda wire: first(wire) and last(wire)
        return lambda wire: all(part(wire) for part in parts)

    def _part(self) -> Predicate:
        """part = "(" filter ")" | startswith "(" name "," literal ")" | name operator literal"""
        if self._accept("("):
            return self._inner()
        name = self._take("name")
        if name == "startswith" and self._accept("("):
            name = self._take("name")
            self._expect(",")
            prefix = self._literal(name, self._property(name, "startswith"))
            self._expect(")")
            return lambda wire: str(wire.get(name) or "").lower().startswith(prefix)
        operator = self._take("name")
        return _comparison(name, operator, self._literal(name, self._property(name, operator)))

    def _inner(self) -> Predicate:
        """What follows "(": filter ")"."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FilterError(f"parentheses are more than {_MAX_DEPTH} deep")
        inner = self.either()
        self._expect(")")
        self._depth -= 1
        return inner

    def _property(self, name: str, operator: str) -> Property:
        found = self._properties.get(name)
        if found is None:
            raise FilterError(f"the property {name!r} cannot be filtered on")
        if operator not in found.operators:
            raise FilterError(f"the operator {operator!r} cannot be used with the property {name!r}")
        return found

    def _literal(self, name: str, wanted: Property) -> JsonValue:
        if not self.tokens:
            raise FilterError("a value is missing at the end")
        kind, text = self.tokens.pop(0)
        value = _read_literal(wanted.kind, kind, text)
        if value is None:
            raise FilterError(f"{text} is not a value for the property {name!r}")
        return value

    def _accept(self, word: str) -> bool:
        if self.tokens and self.tokens[0][0] in ("name", "mark") and self.tokens[0][1] == word:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise FilterError(f"{word!r} is missing")

    def _take(self, kind: str) -> str:
        if not self.tokens or self.tokens[0][0] != kind:
            raise FilterError(f"a {kind} is missing")
        return self.tokens.pop(0)[1]


def _read_literal(wanted: str, kind: str, text: str) -> JsonValue:
    """The literal's value, None where it is of another kind than the property."""
    if wanted == "text" and kind == "text":
        return text[1:-1].replace("''", "'").lower()
    if wanted == "number" and kind == "number":
        return int(text) if len(text) <= _MAX_DIGITS else None
    if wanted == "flag" and text in ("true", "false"):
        return text == "true"
    if wanted == "time" and kind in ("time", "text"):
        return _read_time(text[text.index("'") + 1 : -1])
    return None


def _read_time(text: str) -> str | None:
    """In the form that sorts: without Z, ``01.5`` sorts before ``01.52`` and after ``01``."""
    try:
        return time_text(parse_time(text)).removesuffix("Z").lower()
    except ValueError:
        return None


def _comparison(name: str, operator: str, literal: JsonValue) -> Predicate:
    compare, is_missing_good = _OPERATORS[operator], operator == "ne"
    *parents, member = name.split("/")
    is_time = member.endswith("Time") or member == "lastModified"
    is_text = isinstance(literal, str)

    def predicate(wire: Json) -> bool:
        for parent in parents:
            wire = wire.get(parent) or {}
        value: Any = wire.get(member)
        if value is None:
            return is_missing_good
        if is_text:
            value = value.lower()
        return compare(value.removesuffix("z") if is_time else value, literal)

    return predicate
