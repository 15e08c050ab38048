"""Writes docs/reference-settings.md out of the code: ``python scripts/reference.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from snakemake_executor_azurebatch import lanes
from snakemake_executor_azurebatch.pools import needs
from snakemake_executor_azurebatch.settings import ExecutorSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference-settings.md"

#: Resources of a rule that this plugin reads. Snakemake's own ones keep their meaning.
RESOURCES = {
    lanes.LANE_RESOURCE: "How the job runs: `shell`, `snakemake` or `auto` ([lanes](lanes.md)).",
    lanes.STAGING_RESOURCE: "Who moves its files: `stager`, `batch` or `auto` ([lanes](lanes.md)).",
    lanes.IMAGE_RESOURCE: "The container image that it runs in, without `docker://` ([lanes](lanes.md)).",
    needs.POOL_RESOURCE: "The pool with this name or id ([pools](pools.md)).",
    needs.VM_SIZE_RESOURCE: "A pool of this VM size ([pools](pools.md)).",
    needs.SPOT_RESOURCE: "`False`: only pools without spot nodes ([pools](pools.md)).",
    needs.GPU_RESOURCE: "GPUs that it needs ([pools](pools.md)).",
    needs.GPU_MODEL_RESOURCE: "Which, for example `T4` ([pools](pools.md)).",
    "mem_mb": "Memory; on pools of a file also the limit of its container (and `mem_mib`).",
    "disk_mb": "Disk (and `disk_mib`).",
    "runtime": "Minutes after which Azure Batch ends its task.",
}
SECRETS = {
    "Batch account key": ("SNAKEMAKE_AZUREBATCH_ACCOUNT_KEY", "BATCH_ACCOUNT_KEY"),
    "Storage account key": ("SNAKEMAKE_AZUREBATCH_STORAGE_ACCOUNT_KEY", "STORAGE_ACCOUNT_KEY"),
    "Storage connection string": (
        "SNAKEMAKE_AZUREBATCH_STORAGE_CONNECTION_STRING",
        "STORAGE_ACCOUNT_CONNECTION_STRING",
    ),
    "Registry password": ("SNAKEMAKE_AZUREBATCH_REGISTRY_PASSWORD", "REGISTRY_PASSWORD"),
}


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_settings(), *_secrets(), *_resources()]) + "\n"


def _head() -> Iterator[str]:
    yield "# Reference: settings and resources"
    yield ""
    yield "Made out of the code by `python scripts/reference.py`; a test fails where it is out of date."
    yield "[further.md](further.md) tells what the settings are for, [profiles](profiles.md) which ones go together."


def _settings() -> Iterator[str]:
    yield from ("", "## Settings", "")
    yield "Options of `snakemake`; in a profile, without the dashes."
    yield from ("", "| Option | Default | Meaning |", "| --- | --- | --- |")
    for field in fields(ExecutorSettings):
        option = f"--azurebatch-{field.name.replace('_', '-')}"
        variable = f"SNAKEMAKE_AZUREBATCH_{field.name.upper()}"
        text = _cell(str(field.metadata["help"]))
        more = f" Also read from `{variable}`." if field.metadata.get("env_var") else ""
        yield f"| `{option}` | {_default(field.default)} | {text}{more} |"


def _default(value: object) -> str:
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _secrets() -> Iterator[str]:
    yield from ("", "## Secrets", "")
    yield "From the environment only; the first one that is set counts. Without keys, azure-identity finds out who you"
    yield "are."
    yield from ("", "| Secret | Variables |", "| --- | --- |")
    for secret, variables in SECRETS.items():
        yield f"| {secret} | {', '.join(f'`{name}`' for name in variables)} |"


def _resources() -> Iterator[str]:
    yield from ("", "## Resources of a rule", "")
    yield "In `resources:` of a rule, or for all with `--default-resources`."
    yield from ("", "| Resource | Meaning |", "| --- | --- |")
    for name, text in RESOURCES.items():
        yield f"| `{name}` | {text} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
