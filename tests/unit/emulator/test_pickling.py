"""Rows of the saved state."""

from __future__ import annotations

import pickletools

import pytest

from snakemake_executor_azurebatch.emulator.model import Ending, Run
from snakemake_executor_azurebatch.emulator.pickling import dump, load


@pytest.mark.parametrize("ending", [None, *Ending])
def test_a_run_that_is_being_ended_is_read_as_it_was(ending: Ending | None) -> None:
    run = Run(7, "job", "task", "pool", "node", slots=1, ending=ending)
    body = dump(run)
    assert load(body, {}) == run
    assert "getattr" not in {argument for _, argument, _ in pickletools.genops(body)}


def test_what_does_not_belong_into_a_row_is_not_made() -> None:
    with pytest.raises(ValueError, match=r"builtins.print does not belong into a state"):
        load(b"cbuiltins\nprint\n.", {})
