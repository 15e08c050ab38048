"""Whether the clock here is right, by the Date header that every service sends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from snakemake_executor_azurebatch.doctor import mends
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, skipped, warned

ABOUT = "clock"
#: Requests that are older are refused. source: Azure documentation, "Authorize with Shared Key": 15 minutes.
REFUSED_S = 15 * 60
WARN_S = 60
_ANSWER_S = 10


def check_clock(url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Finding:
    """Ask without credentials: a refusal has a date, too."""
    try:
        sent = requests.get(url, timeout=_ANSWER_S, allow_redirects=False).headers.get("Date", "")
        there = parsedate_to_datetime(sent)
    except (requests.RequestException, ValueError):
        return skipped(ABOUT, "no answer with a date")
    return judge((now() - there).total_seconds())


def judge(ahead_s: float) -> Finding:
    """By how much the clock here is ahead of the service's (pure)."""
    off_s = abs(ahead_s)
    how = f"this machine's clock is {off_s:.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the service's"
    if off_s >= REFUSED_S:
        return failed(ABOUT, f"{how}: requests that are {REFUSED_S // 60} minutes off are refused", mends.CLOCK)
    if off_s >= WARN_S:
        return warned(ABOUT, how, mends.CLOCK)
    return passed(ABOUT, f"less than {WARN_S} s off")
