"""The lists in the documentation that are made from the code: operations, and assumptions.

``python -m snakemake_executor_azurebatch.emulator.operations`` prints them;
``... operations docs/local-service.md`` brings that page up to date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from snakemake_executor_azurebatch.emulator import routes
from snakemake_executor_azurebatch.emulator.routes import ACCOUNT, MANAGEMENT, ROUTES, Route

_BEGIN, _END = "<!-- {name}: made from the code -->", "<!-- end of {name} -->"
_ASSUMED = re.compile(r"\bAssumed(?P<why> where [^:]*)?:\s+(?P<what>.*)", re.DOTALL)


def operations_table() -> str:
    """Every operation of the service's REST interface, as a Markdown table: served or refused."""
    served = sum(not _is_refused(route) for route in ROUTES)
    lines = [
        f"{served} of {len(ROUTES)} operations are served. The others answer 501 `NotEmulated`.",
        "",
        "| Request | Operation | |",
        "| --- | --- | --- |",
        *(
            _row(route)
            for route in sorted(ROUTES, key=lambda route: (route.template.split("/")[1], _is_refused(route)))
        ),
        "",
        "Of Azure Resource Manager, for [pools with identities](#pools-with-identities), where `...` is",
        f"`{ACCOUNT}`:",
        "",
        "| Request | Operation | |",
        "| --- | --- | --- |",
        *(_row(route, ACCOUNT) for route in MANAGEMENT),
    ]
    return "\n".join(lines)


def assumptions() -> str:
    """What the service's modules list as assumed, as a Markdown list."""
    return "\n".join(f"- **{subject}**: {text}" for subject, text in _assumed())


def updated(page: str) -> str:
    """A page of the documentation with its lists as the code has them now. Raises ValueError without marks."""
    for name, text in (("operations", operations_table()), ("assumptions", assumptions())):
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        if begin not in page or end not in page:
            raise ValueError(f"the page has no marks for {name}: {begin}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"
    return page


def _row(route: Route, below: str = "") -> str:
    name, answer = (f"`{route.handler.__name__}`", "served") if not _is_refused(route) else ("", "refused")
    return (
        f"| `{route.method} {route.template.replace(below, '...') if below else route.template}` | {name} | {answer} |"
    )


def _is_refused(route: Route) -> bool:
    """Refusals are made where the routes are; whatever else answers is a handler's own."""
    return route.handler.__module__ == routes.__name__


def _assumed() -> Iterator[tuple[str, str]]:
    """(first words of a module's docstring, its assumptions), from the source files."""
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found = [match for part in text.split("\n\n") if (match := _ASSUMED.search(part))]
        if found and path.name != "__init__.py":
            subject = re.split(r" \(|[.:,] |[.:]?\n|[.:]$", text, maxsplit=1)[0]
            words = " ".join(match["what"] for match in found).replace("``", "`").split()
            yield subject.replace("``", "`"), " ".join(words)


def main(arguments: list[str]) -> int:
    """Print the lists, or write them into the page that is named."""
    if not arguments:
        sys.stdout.write(f"{operations_table()}\n\n{assumptions()}\n")
        return 0
    page = Path(arguments[0])
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
