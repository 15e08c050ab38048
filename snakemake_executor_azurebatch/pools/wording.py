"""What the validator found wrong with ``pools.yaml``, in words: what was wrong and what is allowed (pure)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from snakemake_executor_azurebatch.pools.marks import Document, Path, Problem
from snakemake_executor_azurebatch.pools.model import WORDS, PoolsFile

Schema = Mapping[str, Any]

#: What pydantic puts into a path for the branches of a union, and for keys of mappings.
_NO_KEYS = ("constrained-int", "Range", "[key]")

#: Where somebody may have written a secret by mistake: such a value is never repeated.
_SECRETIVE = re.compile(r"(^|_)(password|key|sas|secret|token|env|environment)($|_)", re.IGNORECASE)

#: Keys in the description of a mapping. Where a key is not known, all that are allowed are listed.
NAMED_AT_MOST = 6

#: Keys that people try, and what is there for it.
_INSTEAD = {
    "password": "a password is never in this file: name the environment variable that holds it (password_env)",
    "account_key": "a key is never in this file: name the environment variable that holds it (key_env)",
    "sas": "a SAS is never in this file: name the environment variable that holds it (sas_env)",
    "autoscale": "write fewest and most nodes: nodes: {dedicated: {min: 0, max: 4}}",
    "spot": "spot nodes are counted below nodes: nodes: {spot: 4}",
    "low_priority": "spot nodes are counted below nodes: nodes: {spot: 4}",
    "image": "write images: [NAME] for container images, os_image for the image of the machine",
}


def problems_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """One problem for each value that is wrong."""
    told: set[tuple[Path, str]] = set()
    for found in error.errors(include_url=False):
        path = tuple(part for part in found["loc"] if part not in _NO_KEYS)
        if "Range" in found["loc"] and not isinstance(_at(document.value, path[: found["loc"].index("Range")]), dict):
            continue  # the other branch of the union says it
        if "constrained-int" in found["loc"] and isinstance(found["input"], dict):
            continue
        text = _text(found["type"], path, found["input"])
        if (path, text) not in told:
            told.add((path, text))
            yield Problem(document.line(path), path, text)


def _text(kind: str, path: Path, value: Any) -> str:  # noqa: ANN401
    if kind == "missing":
        return f"it is missing: {allowed(path)}"
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), path[:-1])
    return f"{shown_value(path, value)} is not allowed: it has to be {allowed(path)}"


def _unknown_key(key: str, parent: Path) -> str:
    known = list(_resolved(_schema_at(parent)).get("properties", {}))
    near = difflib.get_close_matches(key, known, 1)
    hint = f" ({_INSTEAD[key]})" if key in _INSTEAD else f" (did you mean {near[0]}?)" if near else ""
    return f"there is no such key{hint}; allowed here: {', '.join(known)}"


def shown_value(path: Path, value: Any) -> str:  # noqa: ANN401
    """A value as it may be repeated: short, and never one that could be a secret."""
    if any(_SECRETIVE.search(str(part)) for part in path):
        return "the value (not shown: it could be a secret)"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (YAML reads yes, no, on and off so too; for a text, put quotes)"
    if isinstance(value, dict | list):
        return f"{'a' if value else 'an empty'} {'mapping' if isinstance(value, dict) else 'list'}"
    text = str(value).partition("?")[0]
    return repr(text if len(text) <= 80 else f"{text[:77]}...") if isinstance(value, str) else text


def allowed(path: Path) -> str:
    """What may stand at a place, in words."""
    return _described(_schema_at(path))


@cache
def _whole_schema() -> Schema:
    return PoolsFile.model_json_schema()


def _schema_at(path: Path) -> Schema:
    schema: Schema = _whole_schema()
    for part in path:
        schema = _resolved(schema)
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
        if not isinstance(schema, Mapping):
            return {}
    return schema


def _resolved(schema: Schema) -> Schema:
    """Behind references, and of a union the mapping or the list in it."""
    if "$ref" in schema:
        return _whole_schema()["$defs"][schema["$ref"].rpartition("/")[2]]  # type: ignore[no-any-return]
    for branch in schema.get("anyOf", ()):
        found = _resolved(branch)
        if found.get("type") in ("object", "array"):
            return found
    return schema


def _described(schema: Schema) -> str:
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        return ", or ".join(_described(branch) for branch in branches)
    schema = _resolved(schema) if "$ref" in schema else schema
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    describe = _BY_TYPE.get(schema.get("type", ""), _described_text)
    return describe(schema)


def _described_text(schema: Schema) -> str:
    words = WORDS.get(schema.get("pattern", ""), "a text (a number in quotes)")
    return f"{words}, {schema['minLength']} to {schema['maxLength']} of them" if "maxLength" in schema else words


def _list(schema: Schema) -> str:
    item = _described(schema.get("items", {}))
    most = f" of at most {schema['maxItems']}" if "maxItems" in schema else ""
    least = " of at least 1" if schema.get("minItems") else ""
    return f"a list{least or most}, each: {item}"


def _mapping(schema: Schema) -> str:
    if "properties" not in schema:
        return "a mapping of names and texts (put numbers in quotes)"
    needed = [name for name in schema["properties"] if name in schema.get("required", ())]
    others = [name for name in schema["properties"] if name not in needed]
    others = others if len(others) <= NAMED_AT_MOST else [*others[:NAMED_AT_MOST], "and more"]
    return f"a mapping with {' and '.join(needed) or 'any'}{' of ' if not needed else ', perhaps '}{', '.join(others)}"


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        return f" from {low:g} to {high:g}"
    return f" above {schema['exclusiveMinimum']:g}, up to {high:g}" if "exclusiveMinimum" in schema else ""


_BY_TYPE: Mapping[str, Callable[[Schema], str]] = {
    "integer": lambda schema: f"a whole number{_range(schema)}",
    "number": lambda schema: f"a number{_range(schema)}",
    "boolean": lambda _: "true or false",
    "array": _list,
    "object": _mapping,
}


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
