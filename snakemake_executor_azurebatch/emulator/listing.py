"""Answers with one resource or a page of them: $filter, $select, maxresults, odata.nextLink.

Assumed: maxresults above 1000 is OutOfRangeQueryParameterValue; a page is full of matches where there
are enough (the service may send emptier ones).
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from urllib.parse import quote

from snakemake_executor_azurebatch.emulator import odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call, version_headers
from snakemake_executor_azurebatch.emulator.faults import OUT_OF_RANGE_QUERY_VALUE, invalid_query
from snakemake_executor_azurebatch.emulator.legacy import shown_before
from snakemake_executor_azurebatch.emulator.wire import Json

_PAGE = 1000
_TOKEN = "WATV2:"  # noqa: S105 (a mark of paging, no secret)


def element(call: Call, kind: str, wire: Json, *, versioned: bool = True) -> Answer:
    """One resource, with ETag and Last-Modified where the service sends them."""
    shown = select(call, _for_version(call, kind, wire))
    body = {"odata.metadata": _metadata(call, f"{kind}/@Element"), **shown}
    return Answer(200, body, version_headers(wire) if versioned else {})


def page(
    call: Call,
    kind: str,
    keys: Sequence[str],
    wire_of: Callable[[str], Json],
    properties: Mapping[str, odata.Property],
) -> Answer:
    """One page of the resources with these sorted keys. The filter sees them without their URLs."""
    return rendered_page(call, kind, keys, wire_of, (properties, wire_of))


def rendered_page(
    call: Call,
    kind: str,
    keys: Sequence[str],
    wire_of: Callable[[str], Json],
    filtering: tuple[Mapping[str, odata.Property], Callable[[str], Json]],
) -> Answer:
    """As ``page``, with another form of the resource for the filter than for the answer."""
    properties, plain_of = filtering
    limit = _limit(call)
    matches = _predicate(call, properties)
    left: Iterable[str] = islice(keys, bisect_right(keys, _after(call)), None)
    if matches is not None:
        left = (key for key in left if matches(plain_of(key)))
    found = list(islice(left, limit + 1))  # one more tells whether there is another page
    body: Json = {
        "odata.metadata": _metadata(call, kind),
        "value": [select(call, _for_version(call, kind, wire_of(key))) for key in found[:limit]],
    }
    if len(found) > limit:
        body["odata.nextLink"] = _next_link(call, found[limit - 1])
    return Answer(200, body)


def select(call: Call, wire: Json) -> Json:
    """The members that $select names; all without it."""
    text = call.query.get("$select")
    if not text:
        return wire
    names = {name.strip() for name in text.split(",")}
    return {name: value for name, value in wire.items() if name in names}


def _for_version(call: Call, kind: str, wire: Json) -> Json:
    return shown_before(kind, wire) if call.is_legacy else wire


def _metadata(call: Call, kind: str) -> str:
    return f"{call.base_url}/$metadata#{kind}"


def _limit(call: Call) -> int:
    text = call.query.get("maxresults")
    if text is None:
        return _PAGE
    try:
        limit = int(text)
    except ValueError:
        raise invalid_query("maxresults", text, "MaxResults must be a whole number") from None
    if limit < 1:
        raise invalid_query("maxresults", text, "MaxResults cannot be less than 1")
    if limit > _PAGE:
        reason = f"MaxResults cannot be more than {_PAGE}"
        raise invalid_query("maxresults", text, reason, OUT_OF_RANGE_QUERY_VALUE)
    return limit


def _predicate(call: Call, properties: Mapping[str, odata.Property]) -> odata.Predicate | None:
    text = call.query.get("$filter")
    if not text:
        return None
    try:
        return odata.parse(text, properties)
    except odata.FilterError as error:
        raise invalid_query("$filter", text, str(error)) from None


def _after(call: Call) -> str:
    text = call.query.get("$skiptoken")
    if not text:
        return ""
    try:
        return base64.urlsafe_b64decode(text.removeprefix(_TOKEN)).decode()
    except (binascii.Error, ValueError):
        raise invalid_query("$skiptoken", text, "This is no token of this service") from None


def _next_link(call: Call, last_key: str) -> str:
    token = _TOKEN + base64.urlsafe_b64encode(last_key.encode()).decode()
    kept = [part for part in call.raw_query.split("&") if part and not _is_skiptoken(part)]
    return f"{call.url}?{'&'.join([*kept, '$skiptoken=' + quote(token)])}"


def _is_skiptoken(part: str) -> bool:
    return part.lower().startswith(("$skiptoken=", "%24skiptoken="))
