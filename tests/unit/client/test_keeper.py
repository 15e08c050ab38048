"""What keeps a run's Batch job and access alive."""

from queue import SimpleQueue

from snakemake_executor_azurebatch.errors import ServiceUnreachable
from snakemake_executor_azurebatch.run.keeper import Keeper

PATIENCE_S = 60


def test_every_step_is_taken_again_and_again():
    taken: SimpleQueue[str] = SimpleQueue()
    keeper = Keeper(0.001, (lambda: taken.put("a"), lambda: taken.put("b")), print)

    assert [taken.get(timeout=PATIENCE_S) for _ in range(4)] == ["a", "b", "a", "b"]
    keeper.stop()


def test_a_step_that_fails_is_told_and_tried_again_and_does_not_hinder_the_next():
    taken: SimpleQueue[str] = SimpleQueue()
    said: SimpleQueue[str] = SimpleQueue()

    def failing() -> None:
        taken.put("failing")
        raise ServiceUnreachable("extending: no answer")

    keeper = Keeper(0.001, (failing, lambda: taken.put("next")), said.put)

    assert [taken.get(timeout=PATIENCE_S) for _ in range(4)] == ["failing", "next", "failing", "next"]
    assert said.get(timeout=PATIENCE_S).endswith("extending: no answer")
    keeper.stop()
