"""What goes wrong with a formula.

::

    Fault                    a rule of the language is broken; the place is not known here
    └── InsufficientSamples  too few samples for the percentage asked for
    FormulaError             the same with its place and the service's error code

Nothing else leaves this package, and ``check`` and ``evaluate`` turn a ``FormulaError`` into a ``Problem``.
"""

from __future__ import annotations

from dataclasses import dataclass

SYNTAX_ERROR = "AutoScalingFormulaSyntaxError"
TOO_LONG = "AutoScalingFormulaTooLong"
INVALID = "InvalidAutoScalingSettings"
EVALUATION_ERROR = "AutoScalingFormulaEvaluationError"
INSUFFICIENT = "InsufficientSampleData"

#: The service's sentence for each code (source: the public list of error codes; the last two are from a
#: recorded exchange and from the documented example of an automatic scaling event).
MESSAGES = {
    SYNTAX_ERROR: "The specified auto-scaling formula has a syntax error.",
    TOO_LONG: "The specified auto-scaling formula exceeds lengths limit.",
    INVALID: "The specified auto-scaling settings are not valid.",
    EVALUATION_ERROR: "The specified auto-scaling formula has evaluation error",
    INSUFFICIENT: "Autoscale evaluation failed due to insufficient sample data",
}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a formula. Both numbers count characters from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"Line {self.line}, Col {self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in the form in which the service tells it."""

    code: str
    detail: str  #: such as ``Line 1, Col 1: Undefined symbol: $x``

    @property
    def message(self) -> str:
        """The service's sentence for the code."""
        return MESSAGES[self.code]

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Names and values that go with the error: one, ``Message``."""
        return (("Message", self.detail),)


class Fault(Exception):
    """A rule of the language is broken. Whoever knows the place adds it."""

    code = EVALUATION_ERROR


class InsufficientSamples(Fault):
    """Fewer samples than the percentage asked for."""

    code = INSUFFICIENT


class FormulaError(Exception):
    """A formula is wrong at one place."""

    def __init__(self, code: str, at: Position, text: str) -> None:
        super().__init__(f"{at}: {text}")
        self.problem = Problem(code, str(self))


def located(fault: Fault, at: Position) -> FormulaError:
    """The fault with its place."""
    return FormulaError(fault.code, at, str(fault))
