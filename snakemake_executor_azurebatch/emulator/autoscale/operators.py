"""Which operator takes which types (source: the documentation's table; everything else is refused).

Numbers follow IEEE 754: a division by zero is infinite or not a number, and what is not a number counts as
true. Assumed where the documentation is silent: two vectors must be equally long.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from snakemake_executor_azurebatch.emulator.autoscale.errors import Fault
from snakemake_executor_azurebatch.emulator.autoscale.values import Interval, Timestamp, Value, Vector, type_name

_Number = Callable[[float, float], float]
_Operation = Callable[[Any, Any], Value]


def divide(left: float, right: float) -> float:
    """Division without errors: ``1/0`` is infinite, ``0/0`` is not a number."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_ARITHMETIC: dict[str, _Number] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "!=": operator.ne,
}


def _each_with_number(apply: _Number) -> _Operation:
    def operation(left: Vector, right: float) -> Vector:
        return tuple(apply(one, right) for one in left)

    return operation


def _each_with_each(apply: _Number) -> _Operation:
    def operation(left: Vector, right: Vector) -> Vector:
        if len(left) != len(right):
            raise Fault(f"Vectors of different length: {len(left)} and {len(right)}")
        return tuple(map(apply, left, right))

    return operation


def _compared(compare: Callable[[Any, Any], bool]) -> _Operation:
    def operation(left: Value, right: Value) -> float:
        return float(compare(left, right))

    return operation


def _table() -> dict[tuple[str, type, type], _Operation]:
    table: dict[tuple[str, type, type], _Operation] = {
        ("*", float, Interval): lambda left, right: right.scaled(left),
        ("*", Interval, float): lambda left, right: left.scaled(right),
        ("/", Interval, float): lambda left, right: left.divided(right),
        ("+", Interval, Interval): lambda left, right: Interval(left.ticks + right.ticks),
        ("-", Interval, Interval): lambda left, right: Interval(left.ticks - right.ticks),
        ("+", Interval, Timestamp): lambda left, right: right.moved(left),
        ("+", Timestamp, Interval): lambda left, right: left.moved(right),
        ("-", Timestamp, Timestamp): lambda left, right: Interval(left.ticks - right.ticks),
    }
    for sign, apply in _ARITHMETIC.items():
        table[sign, float, float] = apply
        table[sign, tuple, float] = _each_with_number(apply)
        table[sign, tuple, tuple] = _each_with_each(apply)
    table["&&", float, float] = lambda left, right: float(left != 0 and right != 0)
    table["||", float, float] = lambda left, right: float(left != 0 or right != 0)
    for sign, compare in _COMPARISONS.items():
        for kind in (float, str, Timestamp, Interval):
            table[sign, kind, kind] = _compared(compare)
    return table


_TABLE = _table()


def binary(sign: str, left: Value, right: Value) -> Value:
    """Any operator with two operands. Raises ``Fault`` where the types do not fit."""
    operation = _TABLE.get((sign, type(left), type(right)))
    if operation is None:
        raise Fault(f"Operator {sign} cannot be applied to {type_name(left)} and {type_name(right)}")
    return operation(left, right)


def unary(sign: str, operand: Value) -> Value:
    """``-`` of a double or a timeinterval, ``!`` of a double. Raises ``Fault`` for other types."""
    if isinstance(operand, float):
        return -operand if sign == "-" else float(not truth(operand))
    if isinstance(operand, Interval) and sign == "-":
        return Interval(-operand.ticks)
    raise Fault(f"Operator {sign} cannot be applied to {type_name(operand)}")


def truth(value: Value) -> bool:
    """Whether a double counts as true: anything but zero. Raises ``Fault`` for other types."""
    if not isinstance(value, float):
        raise Fault(f"A double is needed where a {type_name(value)} stands")
    return value != 0
