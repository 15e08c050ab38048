"""This machine: versions, and how many jobs may be at the service."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, warned
from snakemake_executor_azurebatch.doctor.pools import Wanted
from snakemake_executor_azurebatch.versions import OLDEST_SNAKEMAKE, why_too_old


def check_versions() -> Finding:
    """Snakemake and this plugin, in this environment."""
    about = "versions here"
    oldest = ".".join(map(str, OLDEST_SNAKEMAKE))
    try:
        found = version("snakemake")
    except PackageNotFoundError:
        return failed(about, "Snakemake is not installed in this environment", f"pip install 'snakemake>={oldest}'")
    if problem := why_too_old(found):
        return failed(about, problem, f"pip install 'snakemake>={oldest}'")
    plugin = version("snakemake-executor-plugin-azurebatch")
    return passed(about, f"Snakemake {found}, plugin {plugin}, Python {platform.python_version()}")


def check_jobs(jobs: object, pools: Iterable[Wanted]) -> Finding:
    """Whether ``--jobs`` is there, and as large as what the nodes can take (pure)."""
    about = "--jobs"
    slots = sum((pool.slots or 1) * pool.most_nodes for pool in pools)
    if jobs is None:
        return warned(about, "neither the profile nor --jobs says it; snakemake asks for it", f"jobs: {max(slots, 1)}")
    if jobs == "unlimited":
        return passed(about, "unlimited")
    try:
        count = int(str(jobs))
    except ValueError:
        return failed(about, f"{jobs!r} is not a number", f"jobs: {max(slots, 1)}   # in the profile")
    if count < slots:
        return warned(about, f"{count}, and the nodes have {slots} task slots: some stay empty", f"jobs: {slots}")
    return passed(about, str(count))
