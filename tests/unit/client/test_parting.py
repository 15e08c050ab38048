"""What is ended with a run, and what is spared."""

import threading
from contextlib import ExitStack

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.run.parting import Parting, is_to_end


@pytest.mark.parametrize("error", [None, StagingError, KeyboardInterrupt])
@pytest.mark.parametrize("has_begun", [False, True])
def test_what_a_run_has_made_itself_always_ends(error, has_begun):
    assert is_to_end(error, is_left=False, has_begun=has_begun)


@pytest.mark.parametrize(
    ("error", "has_begun", "ends"),
    [
        (None, True, True),
        (None, False, False),
        (StagingError, False, False),
        (StagingError, True, False),
        (KeyboardInterrupt, False, True),
    ],
)
def test_what_was_left_ends_with_a_run_that_has_begun_and_when_somebody_wants_that(error, has_begun, ends):
    assert is_to_end(error, is_left=True, has_begun=has_begun) is ends


def test_it_is_known_at_the_end_only():
    begun, done = threading.Event(), []
    parting = Parting(lambda step: step(), begun, lambda: done.append("spared"), is_left=True)
    with ExitStack() as opening:
        parting.at_end(opening, lambda: done.append("ended"))
    assert done == ["spared"]
    with ExitStack() as opening:
        parting.at_end(opening, lambda: done.append("ended"))
        begun.set()
    assert done == ["spared", "ended"]
