"""Each fold a dot, each penalty its mean, the best one marked: ``plot.py BEST OUTPUT``."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no display on a node

import matplotlib.pyplot as plt

INK, MUTED = "#1f2933", "#66727f"
FOLD, BEST = "#3b7dd8", "#12355b"

best = json.loads(Path(sys.argv[1]).read_text())
rows = best["penalties"]
places = range(len(rows))

plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 12, "text.color": INK})
figure, axes = plt.subplots(figsize=(9.0, 5.6), dpi=160)
figure.subplots_adjust(left=0.1, right=0.95, top=0.79, bottom=0.15)

for place, row in zip(places, rows, strict=True):
    is_best = row["penalty"] == best["penalty"]
    color = BEST if is_best else FOLD
    axes.scatter([place] * len(row["log_losses"]), row["log_losses"], s=26, color=color, alpha=0.35, linewidth=0)
    axes.errorbar(
        place, row["log_loss"], row["standard_error"], fmt="o", color=color, markersize=11 if is_best else 8, capsize=5
    )
    text = f"{row['accuracy']:.1%} right"
    axes.annotate(
        text,
        (place, max(row["log_losses"])),
        (0, 10),
        textcoords="offset points",
        ha="center",
        color=color if is_best else MUTED,
        weight="bold" if is_best else "normal",
        size=11,
    )

axes.set_xticks(places, [f"{row['penalty']:g}" for row in rows])
axes.set_xlabel("C: a small one is a strong penalty", color=MUTED, labelpad=8)
axes.set_ylabel("log loss (less is better)", color=MUTED)
axes.set_xlim(-0.5, len(rows) - 0.5)
axes.set_ylim(0, max(max(row["log_losses"]) for row in rows) * 1.15)
axes.tick_params(axis="both", length=0, labelcolor=INK)
axes.grid(axis="y", color="#e4e7eb")
axes.set_axisbelow(True)
axes.spines[:].set_visible(False)

folds = len(rows[0]["log_losses"])
figure.text(0.1, 0.93, f"The best penalty is C = {best['penalty']:g}", size=19, weight="bold", va="center")
figure.text(
    0.1,
    0.86,
    f"{len(rows)} penalties times {folds} folds: {len(rows) * folds} jobs. Dots are folds, bars the standard error",
    size=12.5,
    color=MUTED,
    va="center",
)
figure.savefig(sys.argv[2])
