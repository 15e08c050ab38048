"""Clients that this project does not use itself: each spends a day with the local service."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import installed
from .conftest import Local

_HERE = Path(__file__).parent
_FILES = ["fileuploaderr.txt", "fileuploadout.txt", "stderr.txt", "stdout.txt"]
_FILES += ["wd", "wd/given", "wd/given/in.txt", "wd/out.txt"]
_BLOBS = {"in.txt": "from a blob\n", "done/out.txt": "FROM A BLOB\n"}


@pytest.mark.long
def test_azure_batch_14(local: Local):
    python = installed.python_with(installed.AZURE_BATCH)
    seen = local.run([python, _HERE / "with_azure_batch_14.py"], "azure-batch-14")
    assert seen == {
        "exists_before": False,
        "exists_after": True,
        "again": "PoolExists",
        "added": ["success"],
        "again in a collection": "TaskExists",
        "failed": [3, "failure", "usererror", "FailureExitCode"],
        "many": 120,
        "stdout": "written\n",
        "range": "writ",
        "size": 12,
        "files": _FILES,
        "node files": True,
        "node counts": [1],
        "images": True,
        "mode": "default",
        "autoscale": "$TargetDedicatedNodes=2",
        "terminate_reason": "enough",
        "blobs": _BLOBS,
    }


@pytest.mark.clients
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_azure_batch_for_javascript(local: Local):
    modules = installed.node_modules_with(installed.AZURE_BATCH_JS)
    seen = local.run(["node", _HERE / "with_azure_batch.js"], "javascript", NODE_PATH=str(modules))
    assert seen == {
        "again": "PoolExists",
        "added": ["Success", "Success"],
        "failed": [3, "failure", "usererror", "FailureExitCode"],
        "pages": [2, 1],
        "filtered": ["fail"],
        "stdout": "written\n",
        "files": _FILES,
        "exists": True,
        "metadata": [{"name": "who", "value": "js"}],
        "priority": 5,
        "made": "javascript-s:job-1",
        "images": True,
        "autoscale": "$TargetDedicatedNodes=2",
        "reason": "enough",
        "blobs": _BLOBS,
    }


@pytest.mark.clients
def test_az_batch(local: Local, tmp_path: Path):
    python = installed.python_with(installed.AZURE_CLI)
    command = [python, _HERE / "with_az.py"]
    seen = local.run(command, "az-batch", AZ=str(python.parent / "az"), FOLDER=str(tmp_path))
    assert "(PoolNotFound) The specified pool does not exist." in seen.pop("missing")
    assert seen == {
        "created": "copy",
        "failed": 3,
        "filtered": ["fail"],
        "files": _FILES,
        "stdout": "written\n",
        "priority": 5,
        "autoscale": "$TargetDedicatedNodes=2",
        "blobs": _BLOBS,
    }


def test_more_of_azure_batch_14(local: Local):
    python = installed.python_with(installed.AZURE_BATCH)
    seen = local.run([python, _HERE / "more_with_azure_batch_14.py"], "more-azure-batch-14")
    assert seen == {
        "start task": ["completed", 0],
        "start task said": "started\n",
        "offline": "offline",
        "login": True,
        "metadata": ["sdk14"],
        "waiting": "active",
        "prepared": 0,
        "released": 0,
        "subtasks": [],
        "schedule": ["active", "more-azure-batch-14:job-1", "1:00:00"],
        "made": [["more-azure-batch-14:job-1", 3]],
        "disabled": "disabled",
        "blobs": {"in.txt": "from a blob\n"},
    }


@pytest.mark.clients
def test_more_of_az_batch(local: Local, tmp_path: Path):
    python = installed.python_with(installed.AZURE_CLI)
    command = [python, _HERE / "more_with_az.py"]
    seen = local.run(command, "more-az-batch", AZ=str(python.parent / "az"), FOLDER=str(tmp_path))
    assert seen == {
        "metadata": ["az", "pool"],
        "counts": [2],
        "images": True,
        "usage": [],
        "offline": "offline",
        "files": True,
        "login": True,
        "reason": "JMComplete",
        "added": 4,
        "left": ["t0", "t1", "wide"],
        "retries": 2,
        "made": ["more-az-batch:job-1"],
        "interval": "PT1H",
        "blobs": {"in.txt": "from a blob\n"},
    }
