"""The lists that the documentation takes from the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator import operations
from snakemake_executor_azurebatch.emulator.routes import ROUTES

PAGE = Path(__file__).parents[3] / "docs" / "local-service.md"


def test_the_page_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    command = "python -m snakemake_executor_azurebatch.emulator.operations docs/local-service.md"
    assert operations.updated(page) == page, f"bring it up to date: {command}"


def test_every_operation_is_in_the_table_once():
    table = operations.operations_table()
    for route in ROUTES:
        assert table.count(f"| `{route.method} {route.template}` |") == 1


def test_served_and_refused_operations_are_told_apart():
    table = operations.operations_table()
    assert "| `POST /pools` | `create_pool` | served |" in table
    assert "| `POST /certificates` |  | refused |" in table


def test_assumptions_are_collected():
    assert "- **SharedKey**: a request without Authorization" in operations.assumptions()


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="no marks for operations"):
        operations.updated("# A page\n")


def test_the_command_updates_a_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n<!-- operations: made from the code -->\nold\n<!-- end of operations -->\n"
        "<!-- assumptions: made from the code -->\n<!-- end of assumptions -->\nlast\n"
    )
    assert operations.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("<!-- end of assumptions -->\nlast\n")
    assert "create_pool" in text
    assert "\nold\n" not in text
    assert operations.main([]) == 0
    assert "create_pool" in capsys.readouterr().out
