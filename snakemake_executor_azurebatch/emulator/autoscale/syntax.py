"""The syntax tree of a formula: plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from snakemake_executor_azurebatch.emulator.autoscale.errors import Position


@dataclass(frozen=True, slots=True)
class Number:
    """A number that is written out."""

    at: Position
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string that is written out, without its quotes."""

    at: Position
    value: str


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, a metric or a constant."""

    at: Position
    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x`` or ``!x``."""

    at: Position
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands. ``at`` is where the operator stands."""

    at: Position
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? chosen : otherwise``. ``at`` is where the question mark stands."""

    at: Position
    condition: Expression
    chosen: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A function. ``at`` is where the parenthesis opens."""

    at: Position
    function: Name
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a metric. ``at`` is where the parenthesis opens (source: positions in published errors)."""

    at: Position
    receiver: Expression
    method: Name
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """``x.hour``. ``at`` is where the member's name stands."""

    at: Position
    receiver: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Assign:
    """``name = value``."""

    at: Position
    name: str
    value: Expression


Expression: TypeAlias = Number | Text | Name | Unary | Binary | Choice | Call | Method | Member
Statement: TypeAlias = Assign | Expression


def children(node: Statement) -> tuple[Expression, ...]:
    """The expressions directly under a node, in the order of the text."""
    under: tuple[Expression, ...] = ()
    match node:
        case Assign():
            under = (node.value,)
        case Unary():
            under = (node.operand,)
        case Binary():
            under = (node.left, node.right)
        case Choice():
            under = (node.condition, node.chosen, node.otherwise)
        case Call():
            under = node.arguments
        case Method():
            under = (node.receiver, *node.arguments)
        case Member():
            under = (node.receiver,)
    return under


def walk(node: Statement) -> Iterator[tuple[Statement, int]]:
    """The node and all under it in the order of the text, each with its depth. Deep trees are no problem."""
    waiting: list[tuple[Statement, int]] = [(node, 1)]
    while waiting:
        current, depth = waiting.pop()
        yield current, depth
        waiting.extend((child, depth + 1) for child in reversed(children(current)))
