"""Print the JSON schema of ``pools.yaml``, for editors: ``python -m snakemake_executor_azurebatch.pools.schema``."""

from __future__ import annotations

import json
import sys

from snakemake_executor_azurebatch.pools.model import PoolsFile


def text() -> str:
    """The schema as it is published."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PoolsFile.model_json_schema(),
        "title": "pools.yaml of snakemake-executor-plugin-azurebatch",
    }
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
