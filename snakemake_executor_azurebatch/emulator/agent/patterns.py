"""File patterns of output files, and the blob names that matches get (pure).

Source: the public documentation of Azure Batch (OutputFile.filePattern): ``*`` and ``?`` within one
name, ``**`` any depth of directories, ``[abc]``, ``[a-c]``, ``[!abc]``, ``[*]`` for the character itself;
names that start with a dot match only where the pattern says the dot; variables are expanded first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WILD = re.compile(r"[*?\[]")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NOT_HIDDEN = r"(?!\.)"


@dataclass(frozen=True, slots=True)
class FilePattern:
    """A pattern split where its wildcards begin. Without wildcards ``rest`` is None and ``base`` the file."""

    base: str
    rest: re.Pattern[str] | None

    def matches(self, relative: str) -> bool:
        """Whether a path relative to ``base``, with ``/`` between its names, is meant."""
        return self.rest is not None and self.rest.fullmatch(relative) is not None


def parse(pattern: str, environment: Mapping[str, str]) -> FilePattern:
    """Expand variables and split ``pattern`` into its fixed directory and what is to be matched below it."""
    names = expand(pattern, environment).split("/")
    wild = next((index for index, name in enumerate(names) if _WILD.search(name)), None)
    if wild is None:
        return FilePattern("/".join(names), None)
    base = "/".join(names[:wild])
    if wild > 0 and not base:
        base = "/"
    return FilePattern(base, re.compile(_expression(names[wild:]), re.DOTALL))


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$NAME`` and ``${NAME}``; a name that is not set stays as written."""
    return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], found[0]), text)


def blob_name(path: str | None, relative: str, *, wildcard: bool) -> str:
    """The blob's name: ``path`` is the name itself without wildcards, a virtual directory with them.

    ``relative`` is the matched path below the pattern's fixed directory, or the file's own name.
    """
    if not path:
        return relative
    return f"{path.rstrip('/')}/{relative}" if wildcard else path


def _expression(names: list[str]) -> str:
    parts = []
    for position, name in enumerate(names):
        last = position == len(names) - 1
        if name == "**":
            parts.append(rf"(?:{_NOT_HIDDEN}[^/]+/)*" + (rf"{_NOT_HIDDEN}[^/]+" if last else ""))
        else:
            parts.append(_segment(name) + ("" if last else "/"))
    return "".join(parts)


def _segment(name: str) -> str:
    expression = _NOT_HIDDEN if name[:1] in ("*", "?", "[") else ""
    position = 0
    while position < len(name):
        token, position = _token(name, position)
        expression += token
    return expression


def _token(name: str, position: int) -> tuple[str, int]:
    character = name[position]
    if character == "*":
        return "[^/]*", position + 1
    if character == "?":
        return "[^/]", position + 1
    # a bracket closes at the first "]" that is not its first member
    end = name.find("]", position + 2 + (name[position + 1 : position + 2] == "!")) if character == "[" else -1
    if end == -1:
        return re.escape(character), position + 1
    return _bracket(name[position + 1 : end]), end + 1


def _bracket(members: str) -> str:
    negated = members.startswith("!")
    inner = re.sub(r"[\\\]\[^&~|]", r"\\\g<0>", members.removeprefix("!"))
    inner = re.sub(r"(?<=.)--", r"-\\-", inner, flags=re.DOTALL)  # else Python warns of a difference of sets
    expression = f"(?!/)[{'^' if negated else ''}{inner}]"
    try:
        re.compile(expression)
    except re.error:  # a range that runs backwards
        return re.escape(f"[{members}]")
    return expression
