"""The body of the loop: fit one penalty on all folds but one, and score it on that one."""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--penalty", type=float, required=True)
parser.add_argument("--fold", type=int, required=True)
parser.add_argument("--folds", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
given = parser.parse_args()

data = np.load(given.data)
X, y = data["X"], data["y"]
# Every job makes the same split, from the same seed, and takes its own fold of it.
splits = StratifiedKFold(given.folds, shuffle=True, random_state=given.seed).split(X, y)
train, test = list(splits)[given.fold]

model = make_pipeline(StandardScaler(), LogisticRegression(C=given.penalty, max_iter=5000))
model.fit(X[train], y[train])
probabilities = model.predict_proba(X[test])

result = {
    "penalty": given.penalty,
    "fold": given.fold,
    "tested": len(test),
    "accuracy": float(accuracy_score(y[test], model.predict(X[test]))),
    "log_loss": float(log_loss(y[test], probabilities)),
}
given.output.write_text(json.dumps(result) + "\n")
