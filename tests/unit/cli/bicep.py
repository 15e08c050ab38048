"""The Bicep template, read with a grammar of that language: its resources, and the paths of their properties."""

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from snakemake_executor_azurebatch.provisioning.profile import template_path


@dataclass(frozen=True)
class Resource:
    name: str
    type: str
    version: str
    paths: frozenset[str]  #: as properties.autoStorage.storageAccountId; * for keys that are made up


def tree() -> Node:
    return Parser(Language(tree_sitter_bicep.language())).parse(template_path().read_bytes()).root_node


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def text(node: Node | None) -> str:
    return node.text.decode() if node is not None and node.text is not None else ""


def parameters() -> set[str]:
    return {text(one.named_children[0]) for one in nodes(tree()) if one.type == "parameter_declaration"}


def resources() -> list[Resource]:
    found = []
    for one in nodes(tree()):
        if one.type != "resource_declaration":
            continue
        kind, _, version = text(one.named_children[1]).strip("'").partition("@")
        body = next(child for child in nodes(one) if child.type == "object")
        found.append(Resource(text(one.named_children[0]), kind, version, frozenset(_paths(body))))
    return found


def _paths(body: Node, prefix: str = "") -> Iterator[str]:
    for pair in body.named_children:
        if pair.type != "object_property":
            continue
        key = text(pair.named_children[0])
        path = f"{prefix}{'*' if '$' in key else key}"
        yield path
        for inner in _objects(pair.named_children[-1]):
            yield from _paths(inner, f"{path}.")


def _objects(value: Node) -> Iterator[Node]:
    """The nearest objects in a value: itself, those of a list, those of both branches of a choice."""
    if value.type == "object":
        yield value
    elif value.type in ("array", "ternary_expression", "parenthesized_expression"):
        for child in value.named_children:
            yield from _objects(child)
