"""What becomes of a task that a killed run has left."""

import pytest

from snakemake_executor_azurebatch.node.protocol import ERROR_COMMAND, ERROR_STAGE_IN, CommitRecord
from snakemake_executor_azurebatch.run.adopt import Fate, Listed, fate_of
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.run.ledger import Entry


def entry(staging: str = "stager") -> Entry:
    return Entry("task", "job", "store", "work", "mark", 1, 0, staging)


def listed(*, ended: bool = True, code: str | None = None, exit_code: int = 0) -> Listed:
    return Listed(ended, Sighting("task", exit_code, code))


def record(error_class: str | None = None, phase: str = "done", exit_code: int = 0) -> CommitRecord:
    return CommitRecord(task_id="task", phase=phase, exit_code=exit_code, error_class=error_class)


@pytest.mark.parametrize(
    ("there", "left", "goes_on", "fate"),
    [
        (None, None, True, Fate.UNSENT),
        (listed(ended=False), None, True, Fate.ALIVE),
        (listed(ended=False), None, False, Fate.LOST),
        (listed(), record(), True, Fate.FINISHED),
        (listed(), record(), False, Fate.FINISHED),
        (None, record(), False, Fate.FINISHED),
        (None, None, False, Fate.LOST),
        (listed(), None, True, Fate.LOST),
        (listed(), record(phase="stage_out"), True, Fate.LOST),
        (listed(exit_code=1), record(ERROR_COMMAND, exit_code=1), True, Fate.FINISHED),
        (listed(exit_code=1, code="TaskEnded"), record(ERROR_COMMAND, exit_code=1), True, Fate.LOST),
        (None, record(ERROR_COMMAND, exit_code=1), False, Fate.LOST),
        (listed(exit_code=1), record(ERROR_STAGE_IN), True, Fate.LOST),
    ],
)
def test_fates(there, left, goes_on, fate):
    assert fate_of(entry(), there, left, goes_on=goes_on) is fate


@pytest.mark.parametrize(
    ("there", "fate"),
    [
        (listed(), Fate.FINISHED),
        (listed(exit_code=1), Fate.LOST),
        (listed(code="FileUploadMiscError"), Fate.LOST),
        (None, Fate.LOST),
    ],
)
def test_where_batch_moves_the_files_its_word_counts(there, fate):
    assert fate_of(entry("batch"), there, None, goes_on=False) is fate
