"""The versions of Snakemake that this plugin works with."""

from __future__ import annotations

import re

#: Major and minor version. ``tests/run versions`` runs all workflows with it; pyproject.toml names it as well.
OLDEST_SNAKEMAKE = (9, 23)


def why_too_old(found: str) -> str:
    """What to tell the user of Snakemake ``found`` (``9.14.8``); empty where it is new enough."""
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST_SNAKEMAKE:
        return ""  # what has no number is a checkout of somebody who knows
    oldest = ".".join(map(str, OLDEST_SNAKEMAKE))
    return (
        f"Snakemake {found} is too old for this plugin, which hands decisions about files to Snakemake's own "
        f"functions: it needs {oldest} or newer (pip install 'snakemake>={oldest}')."
    )
