"""Gather all folds, take the penalty with the least mean log loss, and fit it on all data.

``best.py DATA OUTPUT FOLD...``
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data_file, output, *fold_files = map(Path, sys.argv[1:])
folds = [json.loads(path.read_text()) for path in fold_files]

penalties = []
for penalty in sorted({fold["penalty"] for fold in folds}):
    losses = [fold["log_loss"] for fold in folds if fold["penalty"] == penalty]
    accuracies = [fold["accuracy"] for fold in folds if fold["penalty"] == penalty]
    penalties.append(
        {
            "penalty": penalty,
            "log_losses": losses,
            "log_loss": float(np.mean(losses)),
            "standard_error": float(np.std(losses, ddof=1) / len(losses) ** 0.5),
            "accuracy": float(np.mean(accuracies)),
        }
    )
best = min(penalties, key=lambda one: one["log_loss"])

data = np.load(data_file)
model = make_pipeline(StandardScaler(), LogisticRegression(C=best["penalty"], max_iter=5000))
model.fit(data["X"], data["y"])
weights = dict(zip(data["names"].tolist(), model[-1].coef_[0].tolist(), strict=True))

document = {
    "penalty": best["penalty"],
    "accuracy": best["accuracy"],
    "model": {"intercept": float(model[-1].intercept_[0]), "weights": weights},
    "penalties": penalties,
}
output.write_text(json.dumps(document, indent=2) + "\n")
