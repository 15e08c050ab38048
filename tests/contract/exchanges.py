"""Exchanges recorded from the real service: where they are, what they presuppose, how answers are compared.

The recordings are not part of this repository. They are JSON files ``{"request": {method, path, body},
"response": {status, headers, body}}``; ids in them are short (``p``, ``n``, ``j``, ``t``), bodies are partly
shortened to what matters, times and ids blanked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FOLDER = Path(os.environ.get("SHARED_REFERENCE") or Path(__file__).parents[3] / "shared/reference") / "examples"

#: Headers whose presence says nothing about the service's rules.
TRANSPORT = frozenset(
    {
        "connection",  # hop by hop
        "content-length",  # either this or chunks; where it matters (HEAD) there is a test of its own
        "date",  # taken out of all recordings
        "keep-alive",  # hop by hop
        "last-modified",  # taken out of some recordings with the other times
        "note",  # a remark in the recording
        "reason-phrase",  # a remark in the recording; compared with the status line by a test of its own
        "strict-transport-security",  # for https; the local service speaks http
        "transfer-encoding",  # hop by hop
    }
)
_KINDS = (
    ("guid", re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|<guid>")),
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")),
    ("duration", re.compile(r"P(\d+D)?(T[\dHMS.]+)?")),
    ("etag", re.compile(r"0x[0-9A-F]+")),
    ("file mode", re.compile(r"0o\d+")),
)
#: Text members whose values are the service's own words: compared as they are.
_WORDS = frozenset(
    {"code", "key", "state", "previousState", "allocationState", "schedulingState", "status", "result", "scope"}
    | {"elevationLevel", "jobDefaultOrder", "nodeFillType", "onAllTasksComplete", "onTaskFailure"}
    | {"poolLifetimeOption", "protocol"}
)


@dataclass(frozen=True)
class Exchange:
    """One request and what the real service answered."""

    name: str
    method: str
    target: str
    body: Any
    status: int
    headers: frozenset[str]
    answer: Any


def load() -> list[Exchange]:
    """All exchanges; none where the folder is absent."""
    return [_read(path) for path in sorted(FOLDER.glob("*.json"))]


def _read(path: Path) -> Exchange:
    recorded = json.loads(path.read_text())
    request, response = recorded["request"], recorded["response"]
    headers = frozenset(name.lower() for name in response["headers"]) - TRANSPORT
    target = request["path"].partition(" ")[0]
    answer = response["body"]
    if isinstance(answer, dict):
        answer.pop("note", None)
    return Exchange(path.stem, request["method"], target, request["body"], response["status"], headers, answer or None)


def facts(value: Any, path: str = "") -> frozenset[str]:
    """What an answer's body looks like: each member with the kind of its value, items of a list together."""
    return frozenset(_facts(value, path))


def _facts(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{path or '.'} is an object"
        for name, inner in value.items():
            yield from _facts(inner, f"{path}.{name}")
    elif isinstance(value, list):
        yield f"{path} is a list"
        for inner in value:
            yield from _facts(inner, f"{path}[]")
    else:
        yield f"{path}: {_kind(value, path.rpartition('.')[2])}"


def _kind(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "flag"
    if not isinstance(value, str):
        return "number"
    return _text_kind(value, name)


def _text_kind(value: str, name: str) -> str:
    if name in _WORDS:
        return repr(value)
    if name == "metadata":  # odata.metadata: the dot separates here as well
        return f"URL of {urlsplit(value).fragment}"
    if name == "contentLength" and value.isdigit():
        return "digits"
    if value.startswith(("http://", "https://")):
        return "URL"
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(value)), "text")
