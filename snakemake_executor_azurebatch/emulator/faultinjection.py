"""Faults on purpose, as plain data: what goes wrong, where, how often. Pure but for its own random numbers.

Each rule has random numbers of its own, from its seed, so that a test sees the same faults every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from snakemake_executor_azurebatch.emulator.wire import Json


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can go wrong: when it acts, and which members its rules take."""

    acts: str  #: request, item, once (on nodes, when it is added), node or service (while the rule is there)
    takes: tuple[str, ...]
    says: str


_REQUEST = ("endpoint", "method", "route", "rate", "count", "seed")
_NODES = ("pool", "node", "count", "seed")
KINDS: dict[str, Kind] = {
    "latency": Kind("request", (*_REQUEST, "seconds"), "requests are answered later"),
    "throttle": Kind("request", (*_REQUEST, "status", "seconds"), "429 or 503, with Retry-After"),
    "error": Kind("request", _REQUEST, "500 InternalError; nothing was done"),
    "refuse": Kind("request", (*_REQUEST[1:], "code"), "409 with a code of the service; nothing was done"),
    "reset": Kind("request", _REQUEST, "the connection breaks; nothing was done"),
    "lost-answer": Kind("request", _REQUEST, "the connection breaks; what was asked for was done"),
    "busy-item": Kind("item", ("rate", "count", "seed"), "tasks of collections are not created, for now"),
    "preempt": Kind("once", _NODES, "Azure takes low-priority nodes back"),
    "kill": Kind("once", _NODES, "nodes are gone without a word (state unknown), others come later"),
    "unusable": Kind("once", _NODES, "nodes become unusable"),
    "start-task-failure": Kind("node", ("pool", "node"), "start tasks exit with 1"),
    "disk-full": Kind("node", ("pool", "node"), "what is staged in cannot be written"),
    "blob-unreachable": Kind("node", ("pool", "node"), "nodes get no answer from blob storage"),
    "task-failure": Kind("node", ("pool", "node", "code"), "tasks end with a failure code of the service"),
    "allocation-failure": Kind("service", ("pool", "limit"), "resizes end with AllocationFailed"),
    "quota": Kind("service", ("pool", "limit"), "resizes end with AccountCoreQuotaReached"),
    "job-quota": Kind("service", ("limit",), "no more than limit Batch jobs may be active"),
    "clock-skew": Kind("service", ("seconds",), "dates of requests seem wrong by some seconds"),
}
_DEFAULT_S = {"latency": 1.0, "throttle": 1.0, "clock-skew": 3600.0}
_DEFAULT_CODE = {"task-failure": "MaxInternalRetryCountReached", "refuse": "OperationInvalidForCurrentState"}
_MOST_S = 1e10
_THROTTLES = (429, 503)
_ENDPOINTS = ("batch", "blob")
_CODE = re.compile("[A-Z][A-Za-z]{2,63}")


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One fault. What a kind does not take keeps its default."""

    id: int
    kind: str
    endpoint: str = "batch"  #: or ``blob``, where the service was started with a blob storage that can fail
    method: str = ""  #: of the request; empty: any
    route: str = ""  #: pattern of the operation's template (``/jobs/*``), or of a blob's path; empty: any
    pool: str = ""  #: id; empty: any
    node: str = ""  #: id; empty: any
    rate: float = 1.0  #: of the requests that fit, or of the tasks
    count: int = 0  #: requests or nodes at most; 0: no limit for requests and tasks, one node
    seed: int = 0
    status: int = 429
    seconds: float = 0.0  #: latency, Retry-After, or skew
    limit: int = 0  #: so many nodes a pool can have, or active jobs the account
    code: str = ""  #: of a task's failureInfo, or of a refusal

    @property
    def acts(self) -> str:
        """When it acts: see Kind."""
        return KINDS[self.kind].acts

    def shown(self) -> Json:
        """What an answer shows: the members that its kind takes."""
        names = ("id", "kind", *KINDS[self.kind].takes)
        return {name: value for name, value in asdict(self).items() if name in names}


def rule_from(body: object, number: int) -> FaultRule:
    """A rule out of a request's body. Raises ValueError that names every problem."""
    if not isinstance(body, dict) or str(body.get("kind")) not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}")
    kind = str(body["kind"])
    types: dict[str, type] = {
        field.name: type(field.default) for field in fields(FaultRule) if field.name not in ("id", "kind")
    }
    problems: list[str] = []
    given: dict[str, Any] = {}
    for name, value in body.items():
        if name == "kind":
            continue
        if name not in KINDS[kind].takes:
            problems.append(f"{kind} takes {', '.join(KINDS[kind].takes)}, not {name}")
        elif isinstance(value, bool) or not isinstance(value, (int, float) if types[name] is float else types[name]):
            problems.append(f"{name} is a {types[name].__name__}, not {value!r}")
        else:
            given[name] = value
    if not problems:
        rule = FaultRule(
            number, kind, **{"seconds": _DEFAULT_S.get(kind, 0.0), "code": _DEFAULT_CODE.get(kind, ""), **given}
        )
        problems = list(_problems(rule))
    if problems:
        raise ValueError("; ".join(problems))
    return rule


def _problems(rule: FaultRule) -> Iterator[str]:
    if not 0 < rule.rate <= 1:
        yield "rate is greater than 0 and at most 1"
    if rule.count < 0 or rule.limit < 0:
        yield "count and limit are not negative"
    if rule.seconds < 0 and rule.kind != "clock-skew":
        yield "seconds are not negative"
    if not abs(rule.seconds) <= _MOST_S:
        yield f"seconds are at most {_MOST_S:g}"
    if rule.endpoint not in _ENDPOINTS:
        yield "endpoint is batch or blob"
    if rule.kind in _DEFAULT_CODE and not _CODE.fullmatch(rule.code):
        yield f"code is one of the service, like {_DEFAULT_CODE[rule.kind]}"
    if rule.status not in _THROTTLES:
        yield "status is 429 or 503"


class FaultInjection:
    """All rules of one service."""

    def __init__(self) -> None:
        self._rules: dict[int, FaultRule] = {}
        self._random: dict[int, Random] = {}
        self._left: dict[int, int] = {}
        self._last_number = 0

    def new_rule(self, body: object) -> FaultRule:
        """A rule with a number of its own, not yet in force. Raises ValueError."""
        self._last_number += 1
        return rule_from(body, self._last_number)

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force. Those that act once leave nothing behind."""
        if rule.acts == "once":
            return
        self._rules[rule.id] = rule
        self._random[rule.id] = Random(rule.seed)  # noqa: S311 (faults are to be repeatable)
        self._left[rule.id] = rule.count

    def remove(self, number: int) -> FaultRule | None:
        """Take a rule out of force; answers it."""
        return self._rules.pop(number, None)

    def rules(self) -> list[FaultRule]:
        """Those in force, in the order in which they came."""
        return list(self._rules.values())

    def of_request(self, method: str, template: str) -> list[FaultRule]:
        """The faults that this request meets. Each counts."""
        return self._met("batch", method, template)

    def of_blob_request(self, method: str, path: str) -> list[FaultRule]:
        """The same for a request to blob storage; ``path`` is the URL's."""
        return self._met("blob", method, path)

    def _met(self, endpoint: str, method: str, path: str) -> list[FaultRule]:
        fitting = (rule for rule in self.rules() if rule.endpoint == endpoint and _fits(rule, method, path))
        return [rule for rule in fitting if self._strikes(rule)]

    def of_item(self) -> bool:
        """Whether the next task of a collection meets a fault. Each counts."""
        met = [rule for rule in self.rules() if rule.acts == "item" and self._strikes(rule)]
        return bool(met)

    def of_node(self, pool_id: str, node_id: str) -> set[str]:
        """Kinds of the faults that the node has now."""
        return {rule.kind for rule in self._rules.values() if rule.acts == "node" and _is_at(rule, pool_id, node_id)}

    def code_of_node(self, pool_id: str, node_id: str) -> str:
        """What tasks of the node fail with: the newest rule counts; empty: they do not."""
        failures = (rule for rule in self._rules.values() if rule.kind == "task-failure")
        codes = [rule.code for rule in failures if _is_at(rule, pool_id, node_id)]
        return codes[-1] if codes else ""

    def job_limit(self) -> int | None:
        """So many jobs may be active; None: as many as ever."""
        return min((rule.limit for rule in self._rules.values() if rule.kind == "job-quota"), default=None)

    def choose(self, rule: FaultRule, nodes: list[Any]) -> list[Any]:
        """The nodes that a rule that acts once strikes, of those that it may strike."""
        return Random(rule.seed).sample(nodes, min(len(nodes), rule.count or 1))  # noqa: S311 (repeatable)

    def _strikes(self, rule: FaultRule) -> bool:
        if self._random[rule.id].random() >= rule.rate:
            return False
        if rule.count:
            self._left[rule.id] -= 1
            if self._left[rule.id] == 0:
                self.remove(rule.id)
        return True


def _is_at(rule: FaultRule, pool_id: str, node_id: str) -> bool:
    return rule.pool.lower() in ("", pool_id.lower()) and rule.node.lower() in ("", node_id.lower())


def _fits(rule: FaultRule, method: str, template: str) -> bool:
    return (
        rule.acts == "request"
        and rule.method.upper() in ("", method)
        and (not rule.route or fnmatchcase(template, rule.route))
    )
