"""What can be said of a formula without evaluating it.

Assumed where the documentation is silent: a formula that does not parse is a syntax error, one that names what
does not exist (or sets what is fixed, or gives a function too many arguments) is an invalid setting.
"""

from __future__ import annotations

from collections.abc import Iterator

from snakemake_executor_azurebatch.emulator.autoscale import functions, names, samples
from snakemake_executor_azurebatch.emulator.autoscale.errors import INVALID, Fault, FormulaError, Position, Problem
from snakemake_executor_azurebatch.emulator.autoscale.parser import parse
from snakemake_executor_azurebatch.emulator.autoscale.syntax import Assign, Call, Member, Method, Name, Statement, walk


def check(formula: str) -> tuple[Problem, ...]:
    """Everything that forbids giving the formula to a pool, in the order of the text; empty for a good one."""
    try:
        statements = parse(formula)
    except FormulaError as error:
        return (error.problem,)
    return tuple(Problem(INVALID, f"{at}: {fault}") for at, fault in faults(statements))


def faults(statements: tuple[Statement, ...]) -> Iterator[tuple[Position, Fault]]:
    """Names, functions, methods and members that do not exist, and assignments to what is fixed."""
    known: set[str] = set()
    for statement in statements:
        for node, _ in walk(statement):
            try:
                _look(node, known)
            except Fault as fault:
                yield _place(node), fault
        if isinstance(statement, Assign):
            known.add(statement.name)


def _look(node: Statement, known: set[str]) -> None:
    match node:
        case Name() if not (node.name in known or names.is_read_write(node.name) or names.is_fixed(node.name)):
            raise Fault(f"Undefined symbol: {node.name}")
        case Assign() if names.is_fixed(node.name):
            raise Fault(f"Cannot assign to {node.name}")
        case Call():
            functions.check_count(node.function.name, len(node.arguments))
        case Method():
            samples.check_method(node.method.name, len(node.arguments))
            metric_of(node)
        case Member() if node.name not in names.TIMESTAMP_MEMBERS:
            raise Fault(f"Undefined symbol: {node.name}")


def metric_of(node: Method) -> str:
    """The full name of the metric whose method is called. Raises ``Fault`` for anything but a metric's name."""
    metric = names.metric(node.receiver.name) if isinstance(node.receiver, Name) else None
    if metric is None:
        raise Fault(f"Method {node.method.name} needs a metric")
    return metric


def _place(node: Statement) -> Position:
    match node:
        case Call():
            return node.function.at
        case Method():
            return node.method.at
        case _:
            return node.at
