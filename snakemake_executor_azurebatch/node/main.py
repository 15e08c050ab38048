"""The stager's entry.

python3 stager.pyz                  runs the task that the environment names (see ``task`` and ``protocol``)
python3 stager.pyz snakemake ...    runs Snakemake with the controller's decisions (see ``pinned_snakemake``)
"""

from __future__ import annotations

from typing import Sequence


def main(argv: Sequence[str]) -> int:
    """Run with the arguments after the program's name. Returns the exit code."""
    if argv[:1] == ["snakemake"]:
        from . import pinned_snakemake

        pinned_snakemake.main(list(argv[1:]))
        return 0
    if argv:
        from .report import say

        say("unknown argument %s; known: snakemake" % argv[0])
        return 2
    from .task import run_task

    return run_task()
