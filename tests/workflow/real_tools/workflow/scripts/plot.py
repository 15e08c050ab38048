"""A line for each sample, a mark for each place where it differs from the reference."""

# ruff: noqa: F821 (Snakemake gives a script this name)
from pathlib import Path

samples = snakemake.params.samples
rows = [line.split("\t") for line in Path(snakemake.input[0]).read_text().splitlines()]
marks = [
    f'<circle cx="{int(place) / 10:g}" cy="{30 + 30 * number}" r="{3 if "0" in call else 5}"/>'
    for place, _, _, *calls in rows
    for number, call in enumerate(calls)
    if "1" in call
]
names = [f'<text x="5" y="{22 + 30 * number}" font-size="9">{name}</text>' for number, name in enumerate(samples)]
height = 20 + 30 * len(samples)
body = "\n".join([*names, *marks])
Path(snakemake.output[0]).write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" width="500" height="{height}">\n{body}\n</svg>\n'
)
