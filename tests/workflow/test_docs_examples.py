"""The examples of the documents, at a smaller size than they have there."""

import json
import os
import shutil
import subprocess

import pytest

from tests.workflow.docs_blocks import ROOT


@pytest.mark.long
def test_cross_validation(workdir):
    """Two penalties times three folds: the better one is chosen, and is what scikit-learn itself finds."""
    example = ROOT / "example_cross_validation"
    for folder in ("workflow", "config"):
        shutil.copytree(example / folder, workdir.path / folder)
    workdir.run("--config", "penalties=[0.001,1]", "folds=3").must_succeed()

    best = json.loads(workdir.read("results/best.json"))
    assert (best["penalty"], [len(row["log_losses"]) for row in best["penalties"]]) == (1.0, [3, 3])
    assert best["accuracy"] > 0.95
    assert len(best["model"]["weights"]) == 30
    assert (workdir.path / "results/penalties.png").read_bytes().startswith(b"\x89PNG")
    assert_same_as_scikit_learn(best)


def assert_same_as_scikit_learn(best):
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = load_breast_cancer(return_X_y=True)  # noqa: N806 (its usual name)
    splits = StratifiedKFold(3, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    expected = -cross_val_score(model, X, y, cv=splits, scoring="neg_log_loss")
    found = next(row for row in best["penalties"] if row["penalty"] == 1.0)
    assert max(abs(expected - found["log_losses"])) < 1e-6


def test_the_command_can_be_started():
    command = ROOT / "example_cross_validation/run"
    assert os.access(command, os.X_OK)
    subprocess.run(["bash", "-n", command], check=True, timeout=60)
