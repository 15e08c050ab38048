"""The service's own words about a failure, from the name and value pairs that go with its code (pure).

The message of a code is one fixed sentence; what the runtime, the registry or the allocator has said is in the pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Of each value so much is shown.
MOST_CHARACTERS = 500
_CUT = " ..."
#: The query of a URL may hold a SAS. Whatever may belong to it goes: nothing but a space or a quotation mark ends it.
_QUERY = re.compile(r"(?P<address>[a-z][a-z0-9+.-]*://[^\s?\"']*)\?[^\s\"']*", re.IGNORECASE)


def details_text(pairs: Iterable[tuple[str, str]]) -> str:
    """The pairs in one line, without queries of URLs; empty where none says anything."""
    return "; ".join(_pair(name, text) for name, value in pairs if (text := _value(value)))


def _pair(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def _value(value: str) -> str:
    text = " ".join(_QUERY.sub(r"\g<address>", value).split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - len(_CUT)] + _CUT
