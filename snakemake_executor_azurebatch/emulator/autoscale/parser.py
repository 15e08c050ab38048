"""From the text of a formula to its statements.

Limits (source: documentation): 8,192 characters and 100 statements. Assumed: both are told as "too long",
and an expression may be nested 150 deep here, so that no formula can exhaust the stack.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from snakemake_executor_azurebatch.emulator.autoscale.errors import (
    INVALID,
    SYNTAX_ERROR,
    TOO_LONG,
    FormulaError,
    Position,
)
from snakemake_executor_azurebatch.emulator.autoscale.grammar import GRAMMAR
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
    walk,
)

MAX_CHARACTERS = 8192
MAX_STATEMENTS = 100
MAX_DEPTH = 150


def parse(formula: str) -> tuple[Statement, ...]:
    """The statements of a formula. Raises ``FormulaError`` for a formula that is none."""
    if len(formula) > MAX_CHARACTERS:
        raise FormulaError(TOO_LONG, Position(1, 1), f"The formula has more than {MAX_CHARACTERS} characters")
    statements = _statements(formula)
    if len(statements) > MAX_STATEMENTS:
        at = statements[MAX_STATEMENTS].at
        raise FormulaError(TOO_LONG, at, f"The formula has more than {MAX_STATEMENTS} statements")
    for statement in statements:
        for node, depth in walk(statement):
            if depth > MAX_DEPTH:
                raise FormulaError(SYNTAX_ERROR, node.at, "The expression is nested too deeply")
    return statements


def _statements(formula: str) -> tuple[Statement, ...]:
    try:
        tree: Any = _lark().parse(formula)
    except UnexpectedInput as error:
        raise _syntax_error(formula, error) from None
    statements: tuple[Statement, ...] = tree
    return statements


def _syntax_error(formula: str, error: UnexpectedInput) -> FormulaError:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        at = _position(error.token)
        return FormulaError(SYNTAX_ERROR, at, f"Unexpected symbol: {error.token}")
    if isinstance(error, UnexpectedCharacters):
        return FormulaError(SYNTAX_ERROR, Position(error.line, error.column), f"Unexpected character: {error.char}")
    lines = formula.split("\n")
    end = Position(len(lines), len(lines[-1]) + 1)
    if formula.strip():
        return FormulaError(SYNTAX_ERROR, end, "Unexpected end of formula")
    return FormulaError(INVALID, Position(1, 1), "The formula is empty")


def _position(token: Token) -> Position:
    # Every token that comes out of a text knows its place; the library only allows for ones that do not.
    return Position(token.line or 1, token.column or 1)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Any]):
    """One method per rule of the grammar. It runs inside the parser, which does not recurse."""

    def start(self, *statements: Statement) -> tuple[Statement, ...]:
        return statements

    def assign(self, name: Token, value: Expression) -> Assign:
        return Assign(_position(name), str(name), value)

    def choice(self, condition: Expression, mark: Token, chosen: Expression, otherwise: Expression) -> Choice:
        return Choice(_position(mark), condition, chosen, otherwise)

    def binary(self, left: Expression, sign: Token, right: Expression) -> Binary:
        return Binary(_position(sign), str(sign), left, right)

    def unary(self, sign: Token, operand: Expression) -> Unary:
        return Unary(_position(sign), str(sign), operand)

    def member(self, receiver: Expression, name: Token) -> Member:
        return Member(_position(name), receiver, str(name))

    def method(
        self, receiver: Expression, name: Token, opening: Token, arguments: tuple[Expression, ...] | None
    ) -> Method:
        return Method(_position(opening), receiver, self.name(name), arguments or ())

    def call(self, name: Token, opening: Token, arguments: tuple[Expression, ...] | None) -> Call:
        return Call(_position(opening), self.name(name), arguments or ())

    def arguments(self, *arguments: Expression) -> tuple[Expression, ...]:
        return arguments

    def name(self, name: Token) -> Name:
        return Name(_position(name), str(name))

    def number(self, digits: Token) -> Number:
        value = float(digits)
        if math.isinf(value):
            raise FormulaError(SYNTAX_ERROR, _position(digits), "The number is too large")
        return Number(_position(digits), value)

    def text(self, quoted: Token) -> Text:
        return Text(_position(quoted), str(quoted[1:-1]))


@cache
def _lark() -> Lark:
    # Built when the first formula comes, because building takes a moment and most pools have a fixed size.
    return Lark(GRAMMAR, parser="lalr", transformer=_TreeBuilder(), propagate_positions=False)
