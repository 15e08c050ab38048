"""Every class of docs/failures.md is provoked on the local service, by a test of this folder that says so."""

import re
from importlib import import_module
from pathlib import Path

from snakemake_executor_azurebatch.run.explain import ADVICE
from snakemake_executor_azurebatch.run.judge import Cause

TABLE = Path(__file__).parents[3] / "docs/failures.md"


def documented() -> dict[str, list[str]]:
    """Class -> the other columns of its row."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", TABLE.read_text(), re.MULTILINE)
    return {name: columns.split(" | ") for name, columns in rows}


def test_the_table_has_every_class_with_the_words_of_the_screen():
    rows = documented()
    assert rows.keys() == {cause.name for cause in Cause}
    for cause in Cause:
        on_screen, _, _, what_to_do = rows[cause.name]
        assert (on_screen, what_to_do) == (cause.value, ADVICE[cause])


def test_every_class_is_provoked():
    provoked = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        module = import_module(f"tests.workflow.troubles.{file.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                provoked |= getattr(test, "provokes", frozenset())

    assert {cause.name for cause in provoked} == documented().keys()
