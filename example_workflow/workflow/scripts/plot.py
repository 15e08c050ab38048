"""A waterfall: what each seed adds, and what they add up to."""

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no display on a node

import matplotlib.pyplot as plt

INK, MUTED = "#1f2933", "#66727f"
SEED, TOTAL = "#3b7dd8", "#12355b"
WIDTH = 0.62

results = [json.loads(Path(path).read_text()) for path in snakemake.input.powers]
total = float(Path(snakemake.input.total).read_text())
power, size = results[0]["power"], results[0]["size"]
expected = len(results) * size / (power + 1)  # the mean of x ** p over [0, 1] is 1 / (p + 1)

plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 12, "text.color": INK})
figure, axes = plt.subplots(figsize=(max(9.0, 1.6 * len(results)), 5.6), dpi=160)
figure.subplots_adjust(left=0.05, right=0.95, top=0.79, bottom=0.11)

base = 0.0
for place, result in enumerate(results):
    top = base + result["sum"]
    axes.bar(place, result["sum"], WIDTH, bottom=base, color=SEED)
    fits = result["sum"] > 0.06 * max(total, expected)
    where, color, align = ((base + top) / 2, "white", "center") if fits else (top, INK, "bottom")
    axes.text(place, where, f"{result['sum']:.3f}", ha="center", va=align, color=color)
    axes.plot([place + WIDTH / 2, place + 1 - WIDTH / 2], [top, top], color=MUTED, linewidth=1)
    base = top

last = len(results)
axes.bar(last, total, WIDTH, color=TOTAL)
axes.text(last, total / 2, f"{total:.3f}", ha="center", va="center", color="white", weight="bold", size=16)

axes.axhline(expected, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
note = f"expected on average: {expected:g}"
axes.annotate(note, (-WIDTH / 2, expected), (0, 5), textcoords="offset points", color=MUTED, size=11)

axes.axhline(0, color=INK, linewidth=1)
axes.set_xticks(range(last + 1), [f"seed {result['seed']}" for result in results] + ["total"])
axes.get_xticklabels()[-1].set_weight("bold")
axes.tick_params(axis="x", length=0, pad=8, labelcolor=INK)
axes.yaxis.set_visible(False)
axes.spines[:].set_visible(False)
axes.set_xlim(-WIDTH / 2, last + WIDTH / 2)
axes.set_ylim(0, max(total, expected) * 1.08)

figure.text(0.05, 0.93, f"{len(results)} seeds add up to {total!r}", size=19, weight="bold", va="center")
figure.text(
    0.05,
    0.86,
    f"Each seed draws {size} uniform numbers and sums their powers of {power}: one job per seed",
    size=12.5,
    color=MUTED,
    va="center",
)
figure.savefig(snakemake.output[0])
