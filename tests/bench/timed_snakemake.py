"""``python -m tests.bench.timed_snakemake ...``: Snakemake, and at the end what its choice of jobs has taken.

That choice is most of what a large run takes, and differs between runs by more than what is to be measured. It is
Snakemake's own, though how often it is made depends on how the executor's jobs end.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any

_SAID = "choice of jobs: CPU s "


def choice_s(text: str) -> float:
    """What the run took that has written this."""
    return sum(map(float, re.findall(rf"^{_SAID}([0-9.]+)$", text, re.MULTILINE)))


def main() -> None:
    """Run Snakemake with the arguments of this process."""
    from snakemake.cli import main as snakemake
    from snakemake.scheduling.job_scheduler import JobScheduler

    choose, taken_s = JobScheduler.job_selector, 0.0

    def timed(scheduler: JobScheduler, *args: Any, **kwargs: Any) -> Any:
        nonlocal taken_s
        began_s = time.thread_time()
        try:
            return choose(scheduler, *args, **kwargs)
        finally:
            taken_s += time.thread_time() - began_s

    JobScheduler.job_selector = timed
    try:
        snakemake(sys.argv[1:])
    finally:
        print(f"\n{_SAID}{taken_s:.3f}", flush=True)


if __name__ == "__main__":
    main()
