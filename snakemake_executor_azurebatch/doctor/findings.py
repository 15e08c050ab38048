"""What was found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``mend``: a command, or what else to do, where something is wrong."""

    about: str
    verdict: Verdict
    said: str
    mend: str = ""


def passed(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.PASS, said)


def warned(about: str, said: str, mend: str = "") -> Finding:
    """A run works, but perhaps not as it is meant."""
    return Finding(about, Verdict.WARN, said, mend)


def failed(about: str, said: str, mend: str) -> Finding:
    """A run cannot work."""
    return Finding(about, Verdict.FAIL, said, mend)


def skipped(about: str, why: str, mend: str = "") -> Finding:
    """Not looked at: because something before is wrong, or because it cannot be seen from here."""
    return Finding(about, Verdict.SKIPPED, why, mend)
