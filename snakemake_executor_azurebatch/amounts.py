"""Durations and sizes as people write them (pure)."""

from __future__ import annotations

import re

_DURATIONS_S = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_SIZES_BYTES = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def duration_s(text: str) -> float | None:
    """``12h``, ``7d``, ``1.5w`` in seconds; None for anything else."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) *([hdw])", text.strip().lower())
    return float(found[1]) * _DURATIONS_S[found[2]] if found else None


def size_bytes(text: str) -> int | None:
    """``500M``, ``200G``, ``1.5T`` in bytes (powers of 1,024; ``B``, ``iB`` may follow). None for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) *([MGT])(?:I?B)?", text.strip().upper())
    return int(float(found[1]) * _SIZES_BYTES[found[2]]) if found else None


def shown_bytes(count: int) -> str:
    """A size for people: ``17 B``, ``1.5 MiB``."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
