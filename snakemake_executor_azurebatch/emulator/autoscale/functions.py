"""The functions of the language (source: the documentation's table).

A "list" below is any mix of doubles and vectors, made into one vector. Assumed where the documentation is
silent: the average, the extremes and the spread of nothing are errors; the deviation of one value is 0; a
percentile is the nearest-rank element; ``val`` drops the fraction of its index. ``vec``, which the page
mentions without describing it, makes a vector of a list.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.autoscale.errors import Fault
from snakemake_executor_azurebatch.emulator.autoscale.values import Timestamp, Value, Vector, parse_time, type_name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a function may ask for besides its arguments."""

    now: Timestamp
    random: random.Random


class Stopped(Exception):
    """``stop()`` was called. No error: the formula asked for it."""


def call(name: str, arguments: Sequence[Value], surroundings: Surroundings) -> Value:
    """A function's result. Raises ``Fault`` for arguments that do not fit, and ``Stopped`` for ``stop()``."""
    check_count(name, len(arguments))
    if name in _OF_LIST:
        return _OF_LIST[name](_flat(name, arguments))
    if name in _OF_EACH:
        return _of_each(name, arguments)
    return _SPECIAL[name](arguments, surroundings)


def check_count(name: str, count: int) -> None:
    """Raises ``Fault`` for a function that does not exist or that does not take so many arguments."""
    if name not in _NAMES:
        raise Fault(f"Undefined symbol: {name}")
    low, high = _COUNTS.get(name, (0, None))
    if count < low or (high is not None and count > high):
        raise Fault(f"Function {name} does not take {count} arguments")


def _flat(name: str, arguments: Sequence[Value]) -> Vector:
    flat: list[float] = []
    for argument in arguments:
        if isinstance(argument, float):
            flat.append(argument)
        elif isinstance(argument, tuple):
            flat.extend(argument)
        else:
            raise Fault(f"Function {name} does not take a {type_name(argument)}")
    return tuple(flat)


def _of_each(name: str, arguments: Sequence[Value]) -> Value:
    apply = _OF_EACH[name]
    if len(arguments) == 1 and isinstance(arguments[0], float):
        return apply(arguments[0])
    return tuple(apply(one) for one in _flat(name, arguments))


def _some(values: Vector) -> Vector:
    if not values:
        raise Fault("There are no values")
    return values


def _sum(values: Vector) -> float:
    return float(sum(values, 0.0))


def _average(values: Vector) -> float:
    return _sum(_some(values)) / len(values)


def _maximum(values: Vector) -> float:
    return max(_some(values))


def _minimum(values: Vector) -> float:
    return min(_some(values))


def _norm(values: Vector) -> float:
    return math.sqrt(_sum(tuple(one * one for one in values)))


def _deviation(values: Vector) -> float:
    mean = _average(values)
    if len(values) == 1:
        return 0.0
    return math.sqrt(_sum(tuple((one - mean) * (one - mean) for one in values)) / (len(values) - 1))


def _logarithm(apply: Callable[[float], float]) -> Callable[[float], float]:
    def logarithm(value: float) -> float:
        if value == 0:
            return -math.inf
        return math.nan if value < 0 else apply(value)

    return logarithm


def _whole(apply: Callable[[float], int]) -> Callable[[float], float]:
    def whole(value: float) -> float:
        return float(apply(value)) if math.isfinite(value) else value

    return whole


def _half_away(value: float) -> int:
    whole = math.trunc(value)
    return whole + int(math.copysign(1, value)) if abs(value - whole) >= 0.5 else whole


_OF_LIST: dict[str, Callable[[Vector], Value]] = {
    "avg": _average,
    "len": lambda values: float(len(values)),
    "max": _maximum,
    "min": _minimum,
    "norm": _norm,
    "range": lambda values: _maximum(values) - _minimum(values),
    "std": _deviation,
    "sum": _sum,
    "vec": lambda values: values,
}
_OF_EACH: dict[str, Callable[[float], float]] = {
    "ceil": _whole(math.ceil),
    "floor": _whole(math.floor),
    "lg": _logarithm(math.log2),
    "ln": _logarithm(math.log),
    "log": _logarithm(math.log10),
    "round": _whole(_half_away),
}


def _vector_and_number(name: str, arguments: Sequence[Value]) -> tuple[Vector, float]:
    vector, number = arguments
    if isinstance(vector, tuple) and isinstance(number, float):
        return vector, number
    raise Fault(f"Function {name} does not take {type_name(vector)} and {type_name(number)}")


def _percentile(arguments: Sequence[Value], _: Surroundings) -> Value:
    values, percent = _vector_and_number("percentile", arguments)
    if not 0 <= percent <= 100:
        raise Fault(f"A percentile is from 0 to 100, not {percent:g}")
    rank = math.ceil(percent / 100 * len(_some(values)))
    return sorted(values)[max(rank, 1) - 1]


def _element(arguments: Sequence[Value], _: Surroundings) -> Value:
    values, index = _vector_and_number("val", arguments)
    if not -1 < index < len(values):
        raise Fault(f"Index {index:g} is out of range: the vector has {len(values)} elements")
    return values[math.trunc(index)]


def _random(_: Sequence[Value], surroundings: Surroundings) -> Value:
    return surroundings.random.random()


def _stop(_: Sequence[Value], __: Surroundings) -> Value:
    raise Stopped


def _time(arguments: Sequence[Value], surroundings: Surroundings) -> Value:
    text = arguments[0] if arguments else ""
    if not isinstance(text, str):
        raise Fault(f"Function time does not take a {type_name(text)}")
    return parse_time(text) if text else surroundings.now


_SPECIAL: dict[str, Callable[[Sequence[Value], Surroundings], Value]] = {
    "percentile": _percentile,
    "rand": _random,
    "stop": _stop,
    "time": _time,
    "val": _element,
}
_COUNTS: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(_OF_EACH, (1, None)),
    "percentile": (2, 2),
    "rand": (0, 0),
    "stop": (0, 0),
    "time": (0, 1),
    "val": (2, 2),
}
_NAMES = frozenset({*_OF_LIST, *_OF_EACH, *_SPECIAL})
