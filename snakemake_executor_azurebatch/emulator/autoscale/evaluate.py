"""From a formula and the state of a pool to its targets.

Results read ``$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue`` and then the
formula's own variables by name (source: recorded exchanges; published results for the order). A target that is
not set stays. The fraction of a target is dropped (source: published). Of ``?:`` only the branch taken is
evaluated, because documented formulas need it.

Assumed where the sources are silent: ``&&`` and ``||`` evaluate both sides (the stricter reading: what works
here works there); the fraction is dropped only at the end, so that a target read back still has it; a target
of -1 or less, an infinite one and one that is not a number are errors; after ``stop()`` what was set counts; a
metric named alone is the value that the pool has now, else the latest readable sample, else 0; after an error
the variables of the formula are not shown, and the option is the default one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from snakemake_executor_azurebatch.emulator.autoscale import functions, names, operators
from snakemake_executor_azurebatch.emulator.autoscale.check import faults, metric_of
from snakemake_executor_azurebatch.emulator.autoscale.errors import (
    EVALUATION_ERROR,
    INSUFFICIENT,
    Fault,
    FormulaError,
    Position,
    Problem,
    located,
)
from snakemake_executor_azurebatch.emulator.autoscale.parser import parse
from snakemake_executor_azurebatch.emulator.autoscale.samples import SampleStore, Series, call_method
from snakemake_executor_azurebatch.emulator.autoscale.syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Expression,
    Member,
    Method,
    Name,
    Number,
    Statement,
    Text,
    Unary,
)
from snakemake_executor_azurebatch.emulator.autoscale.values import Interval, Timestamp, Value, shown, type_name

MAX_TARGET = 2**31 - 1  #: the largest number that a pool's targets can hold


@dataclass(frozen=True, slots=True)
class Context:
    """What a formula is evaluated against."""

    now: datetime  #: with a time zone
    target_dedicated: int  #: of the pool, at present
    target_low_priority: int
    samples: SampleStore = field(default_factory=SampleStore)
    node_deallocation_option: str = "requeue"  #: where the formula sets none
    #: What the pool's metrics are at this moment, for metrics that are named alone, such as
    #: ``$CurrentDedicatedNodes * 2``.
    current: Mapping[str, float] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out. With an error the targets are the current ones."""

    target_dedicated: int
    target_low_priority: int
    node_deallocation_option: str
    variables: tuple[tuple[str, str], ...] = ()  #: the formula's own, with their values as shown, by name
    error: Problem | None = None

    @property
    def results(self) -> str:
        """All variables in the service's form."""
        pairs = (
            (names.DEDICATED, str(self.target_dedicated)),
            (names.LOW_PRIORITY, str(self.target_low_priority)),
            (names.OPTION, self.node_deallocation_option),
            *self.variables,
        )
        return ";".join(f"{name}={value}" for name, value in pairs)


def evaluate(formula: str, context: Context) -> Evaluation:
    """Evaluate a formula. Whatever is wrong with it is in ``error``; nothing is raised."""
    try:
        statements = parse(formula)
        for at, fault in faults(statements):
            raise located(fault, at)
        run = _Run(context)
        run.statements(statements)
        return run.outcome()
    except FormulaError as error:
        problem = error.problem
    return Evaluation(
        context.target_dedicated,
        context.target_low_priority,
        context.node_deallocation_option,
        error=Problem(_code(problem), problem.detail),
    )


def _code(problem: Problem) -> str:
    """An evaluation tells any fault of the formula itself as an evaluation error (source: recorded exchange)."""
    return problem.code if problem.code == INSUFFICIENT else EVALUATION_ERROR


class _Run:
    """One evaluation. Names were checked before, so that every name found here exists."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._now = Timestamp.of(context.now)
        self._surroundings = functions.Surroundings(self._now, context.random)
        self._variables: dict[str, Value] = {}
        self._targets: dict[str, tuple[float, Position]] = {}
        self._series: dict[str, Series] = {}

    def statements(self, statements: tuple[Statement, ...]) -> None:
        """Run the statements until the end or ``stop()``."""
        try:
            for statement in statements:
                if isinstance(statement, Assign):
                    self._assign(statement)
                else:
                    self._value(statement)
        except functions.Stopped:
            pass

    def outcome(self) -> Evaluation:
        """What the variables say now. Raises ``FormulaError`` for a target that is no number of nodes."""
        own = sorted(name for name in self._variables if name != names.OPTION)
        option = self._read(names.OPTION)
        return Evaluation(
            self._target(names.DEDICATED),
            self._target(names.LOW_PRIORITY),
            shown(option),
            tuple((name, shown(self._variables[name])) for name in own),
        )

    def _assign(self, statement: Assign) -> None:
        value = self._value(statement.value)
        name, at = statement.name, statement.at
        if name not in names.TARGETS:
            if name == names.OPTION and value not in names.DEALLOCATION_OPTIONS:
                raise FormulaError(EVALUATION_ERROR, at, f"Invalid value for {name}: {shown(value)}")
            self._variables[name] = value
        elif isinstance(value, float):
            self._targets[name] = value, at
        else:
            raise FormulaError(EVALUATION_ERROR, at, f"Cannot assign a {type_name(value)} to {name}")

    def _target(self, full: str) -> int:
        for name in (full, names.TARGET_ALIASES[full]):
            if name in self._targets:
                value, at = self._targets[name]
                if -1 < value <= MAX_TARGET:
                    return math.trunc(value)
                raise FormulaError(EVALUATION_ERROR, at, f"Invalid value for {name}: {value:g}")
        return self._current_target(full)

    def _value(self, node: Expression) -> Value:
        try:
            return self._of(node)
        except Fault as fault:
            raise located(fault, node.at) from None

    def _of(self, node: Expression) -> Value:  # noqa: PLR0911 - one return per kind of node
        match node:
            case Number() | Text():
                return node.value
            case Name():
                return self._read(node.name)
            case Unary():
                return operators.unary(node.operator, self._value(node.operand))
            case Binary():
                return operators.binary(node.operator, self._value(node.left), self._value(node.right))
            case Choice():
                chosen = operators.truth(self._value(node.condition))
                return self._value(node.chosen if chosen else node.otherwise)
            case Call():
                return functions.call(node.function.name, self._values(node.arguments), self._surroundings)
            case Method():
                return call_method(self._series_of(metric_of(node)), node.method.name, self._values(node.arguments))
            case Member():
                return self._member(node)

    def _values(self, nodes: tuple[Expression, ...]) -> list[Value]:
        return [self._value(node) for node in nodes]

    def _member(self, node: Member) -> Value:
        receiver = self._value(node.receiver)
        if not isinstance(receiver, Timestamp):
            raise Fault(f"A {type_name(receiver)} has no member {node.name}")
        return receiver.member(node.name)

    def _read(self, name: str) -> Value:
        if name in self._variables:
            return self._variables[name]
        if name in names.TARGETS:
            return self._read_target(name)
        if name == names.OPTION:
            return self._context.node_deallocation_option
        if name in names.INTERVALS:
            return Interval(names.INTERVALS[name])
        if metric := names.metric(name):
            return self._read_metric(metric)
        return name  # one of the words for the option

    def _read_target(self, name: str) -> float:
        full = names.TARGETS[name]
        for candidate in (name, full, names.TARGET_ALIASES[full]):
            if candidate in self._targets:
                return self._targets[candidate][0]
        return float(self._current_target(full))

    def _current_target(self, full: str) -> int:
        context = self._context
        return context.target_dedicated if full == names.DEDICATED else context.target_low_priority

    def _read_metric(self, metric: str) -> float:
        if metric in self._context.current:
            return float(self._context.current[metric])
        return self._series_of(metric).latest

    def _series_of(self, metric: str) -> Series:
        if metric not in self._series:
            self._series[metric] = self._context.samples.series(metric, self._now)
        return self._series[metric]
