"""Why tasks wait, in words."""

import pytest

from snakemake_executor_azurebatch.run.waiting import Waiting, explain_waiting


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        (Waiting("p", 3, 1, {"running": 1}, False), None),
        (Waiting("p", 0, 0, {}, False), None),
        (Waiting("p", 1, 0, {}, True), "1 task waits for a node of pool p: it is being resized and has no nodes yet."),
        (Waiting("p", 2, 0, {}, False), "2 tasks wait for a node of pool p: it has no nodes."),
        (
            Waiting("p", 2, 0, {"unusable": 2, "starting": 1}, False, ("ContainerInvalidImage: no such image",)),
            "2 tasks wait for a node of pool p: 1 starting, 2 unusable.\n  ContainerInvalidImage: no such image",
        ),
    ],
)
def test_waiting_in_words(waiting, text):
    assert explain_waiting(waiting) == text
