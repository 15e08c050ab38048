"""How quick staging is: ``python -m tests.bench.bench_staging``, from the repository's root.

Everything is measured against one Azurite on this machine, the contestants in turn. What counts are the ratios: to
``az storage blob``, to snakemake-storage-plugin-azure, to a stock remote call of Snakemake, to a node without cache.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from snakemake_executor_azurebatch.emulator.testing import LocalBatch, running
from tests.bench.around import measure_overhead
from tests.bench.moving import CONTESTANTS, Arena, race
from tests.bench.one_node import measure_cache

MIB = 1 << 20
PARTS = ("large", "small", "overhead", "cache")


def main() -> None:
    """Measure what was asked for, all by default."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running(Path(folder, "service")) as service:
        for part in options.parts:
            _measure(part, Path(folder, part), service, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--who", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement but the large file's (default: 3)")
    parser.add_argument("--large-mib", type=int, default=2048, help="size of the large file (default: 2048)")
    parser.add_argument("--small", type=int, default=2000, help="number of files of 10 KiB (default: 2000)")
    parser.add_argument("--calls", type=int, default=9, help="of the task and of the stock call (default: 9)")
    parser.add_argument("--cache-mib", type=int, default=500, help="size of the input of all tasks (default: 500)")
    parser.add_argument("--tasks", type=int, default=20, help="tasks with that input (default: 20)")
    return parser.parse_args()


def _measure(part: str, folder: Path, service: LocalBatch, options: argparse.Namespace) -> None:
    connection = service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    if part == "large":
        race(Arena(folder, connection, 1, options.large_mib * MIB), 1, options.who)
    elif part == "small":
        race(Arena(folder, connection, options.small, 10 * 1024), options.rounds, options.who)
    elif part == "overhead":
        measure_overhead(folder, service, options.calls)
    else:
        measure_cache(folder, service, options.cache_mib * MIB, options.tasks)


if __name__ == "__main__":
    main()
