"""A YAML file as plain values together with its lines, so that a complaint about a value can say where it is (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

#: Keys and positions from the top of the file to a value.
Path = tuple[str | int, ...]

#: As deep as any sensible file goes; aliases could go deeper for ever.
DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, with which key, in which line (from 1; 0: the file as a whole)."""

    line: int
    path: Path
    text: str

    def shown(self, file: str) -> str:
        """``file:line: key path: text``."""
        where = f"{file}:{self.line}" if self.line else file
        return f"{where}: {shown_path(self.path)}: {self.text}" if self.path else f"{where}: {self.text}"


def shown_path(path: Sequence[str | int]) -> str:
    """``pools[0].nodes.spot``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


class Document:
    """A YAML file that was read. ``problems`` has what is wrong with it as YAML; then ``value`` may be partial."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self.value: Any = None
        self._root: yaml.Node | None = None
        loader = yaml.SafeLoader(text)
        try:
            self._root = loader.get_single_node()
            if self._root is not None:
                self.value = self._value(loader, self._root, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append(Problem(mark.line + 1 if mark else 0, (), f"this is not YAML: {error.problem}"))
        except yaml.YAMLError as error:
            self.problems.append(Problem(0, (), f"this is not YAML: {str(error).splitlines()[0]}"))
        finally:
            loader.dispose()

    def line(self, path: Path) -> int:
        """The line of a key, or of an item of a list; of the nearest one around it where there is no such key."""
        node, key = self._root, self._root
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            key, node = found
        return key.start_mark.line + 1 if key is not None else 0

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401
        if len(path) > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "it is nested too deeply", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return loader.construct_object(node)
        except ValueError as error:  # 2026-02-31
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._note_repeated(node, path)
        loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(key.start_mark.line + 1, path, "a key has to be a word"))
                continue
            values[str(key.value)] = self._value(loader, value, (*path, str(key.value)))
        return values

    def _note_repeated(self, node: yaml.MappingNode, path: Path) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if first := lines.get(key.value):
                text = f"this key is there twice (first in line {first}): each key may be there once"
                self.problems.append(Problem(line, (*path, key.value), text))
            lines.setdefault(key.value, line)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value; of an item of a list, twice the item."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    if isinstance(node, yaml.MappingNode):
        # The last of several: what a merge brings in comes first.
        found = [(key, value) for key, value in node.value if getattr(key, "value", None) == str(part)]
        return found[-1] if found else None
    return None
