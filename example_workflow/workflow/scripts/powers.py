"""The body of the loop: one seed's sum of powers."""

import json
from pathlib import Path

import numpy as np

seed = int(snakemake.wildcards.seed)
power = snakemake.params.power
size = snakemake.params.size

np.random.seed(seed)
result = sum(np.power(np.random.uniform(size=size), power))

# JSON writes a float with the digits that give the same float back.
document = {"seed": seed, "power": power, "size": size, "sum": float(result)}
Path(snakemake.output[0]).write_text(json.dumps(document) + "\n")
