"""Which Snakemake is too old."""

import re
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.versions import OLDEST_SNAKEMAKE, why_too_old

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


@pytest.mark.parametrize("found", ["8.30.0", "9.0.0", "9.14.8", "9.22.0"])
def test_an_old_one_is_refused_with_a_way_out(found):
    assert f"Snakemake {found} is too old" in why_too_old(found)
    assert "pip install 'snakemake>=9." in why_too_old(found)


@pytest.mark.parametrize("found", ["9.27.1", "9.23.0", "9.100.0", "10.0.0", "9.28.0+3.gabc", "unknown"])
def test_a_new_one_is_not(found):
    assert why_too_old(found) == ""


def test_the_oldest_is_the_one_that_is_tested():
    named = re.search(r'"snakemake>=(\d+)\.(\d+)"', PYPROJECT.read_text())

    assert named
    assert (int(named[1]), int(named[2])) == OLDEST_SNAKEMAKE
