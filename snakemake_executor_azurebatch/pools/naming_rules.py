"""Which pools jobs may go to by the names of their rules: those that name them, else those that name none (pure).

A pool's ``rules`` are patterns of ``fnmatch``, with case: ``align``, ``call_*``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.pools.choose import Capacity


def open_to(rules: Sequence[str], pools: Sequence[Capacity]) -> list[Capacity]:
    """The pools that a job of all these rules may go to: one rule, or the rules of a group."""
    return [pool for pool in pools if all(_is_open(pool, rule, pools) for rule in rules)]


def _is_open(pool: Capacity, rule: str, pools: Sequence[Capacity]) -> bool:
    if any(_patterns(one, [rule]) for one in pools):
        return bool(_patterns(pool, [rule]))
    return not pool.rules


def _patterns(pool: Capacity, rules: Sequence[str]) -> list[str]:
    """Those of the pool's patterns that name one of the rules."""
    return [pattern for pattern in pool.rules if any(fnmatchcase(rule, pattern) for rule in rules)]


def shown_naming(pool: Capacity, rules: Sequence[str]) -> str:
    """By which patterns the pool names the rules: ``big ('align', 'call_*')``."""
    return f"{pool.pool} ({', '.join(map(repr, _patterns(pool, rules)))})"


def only_named(rules: Sequence[str], pools: Sequence[Capacity]) -> str:
    """A sentence for what does not fit on ``pools``, which name these rules; empty where they name none."""
    if not any(pool.rules for pool in pools):
        return ""
    named = ", ".join(shown_naming(pool, rules) for pool in pools)
    return f" Pools that name {'it' if len(rules) == 1 else 'its rules'} in their rules: {named}; it goes to no other."


def not_open(name: str, rules: Sequence[str], pools: Sequence[Capacity]) -> str:
    """Why a job may go to no pool: a group whose rules go to different ones, or a rule that no pool is open to."""
    if len(rules) > 1:
        each = "; ".join(f"{rule} may go to {_shown_open(rule, pools)}" for rule in rules)
        return f"group {name}: its rules may go to no pool together: {each}. Name them in the rules of one pool."
    each = ", ".join(f"{pool.pool} ({', '.join(map(repr, pool.rules))})" for pool in pools)
    return f"rule {name}: every pool is for other rules: {each}. Name it in the rules of one, or leave rules out there."


def _shown_open(rule: str, pools: Sequence[Capacity]) -> str:
    found = open_to([rule], pools)
    names = [shown_naming(pool, [rule]) if pool.rules else pool.pool for pool in found]
    return ", ".join(names) or "none (every pool is for other rules)"


def unused_patterns(rules: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those patterns that name none of the rules."""
    return [pattern for pattern in patterns if not any(fnmatchcase(rule, pattern) for rule in rules)]
