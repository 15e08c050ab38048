"""SharedKey (the string to sign and its verification) and bearer tokens, pure.

    S = VERB, then Content-Encoding ... Range, one per line; then each ocp-* header as name:value;
        then /<account><raw path>; then each query parameter as name:value
    Authorization: SharedKey <account>:<base64 of HMAC-SHA256(key, S)>

Source: public documentation of Batch authentication, and the requests of azure-batch 14 and 15, the az
command line and @azure/batch, which differ in details: the length of an empty body is signed as "0" or
as nothing, empty query values are signed or left out. All forms are accepted. ``Date`` is signed as
empty when ocp-date is there.

A bearer token is believed when it is a JSON web token that has not expired (nobody could check its
signature without the network), or one of a list.

Assumed: a request without Authorization, or outside 15 minutes of its date, is AuthenticationFailed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from urllib.parse import parse_qs

from snakemake_executor_azurebatch.emulator.faults import (
    AUTHENTICATION_FAILED,
    BEARER_REFUSED,
    INVALID_AUTHENTICATION,
    Fault,
    ServiceFault,
)
from snakemake_executor_azurebatch.emulator.wire import parse_time

_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_CLOCK_SKEW = timedelta(minutes=15)
#: Where a client is told to get a token (assumed: the exact members).
_CHALLENGE = (
    'Bearer authorization_uri="https://login.microsoftonline.com/common", resource_id="https://batch.core.windows.net/"'
)
_OTHER_LENGTH = {"": "0", "0": ""}


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers. ``headers`` have lower-case names, path and query are raw."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]


def verify(
    request: SignedRequest, account: str, key: str, now: datetime, tokens: Collection[str] | None = None
) -> None:
    """Raise ServiceFault unless the request carries a signature of ``account`` made with ``key``, or a token.

    The token is one of ``tokens``; None: any well-formed one that has not expired. Azure Resource Manager takes
    tokens only (source: its documentation).
    """
    header = request.headers.get("authorization", "")
    scheme, _, credential = header.partition(" ")
    if scheme.lower() == "bearer":
        _verify_token(credential.strip(), tokens, now)
        return
    if is_management(request.raw_path):
        raise _token_refused("Azure Resource Manager takes bearer tokens only")
    if not header:
        raise _failed("The Authorization header is missing")
    name, colon, signature = credential.strip().partition(":")
    if scheme.lower() != "sharedkey" or not colon:
        raise ServiceFault(INVALID_AUTHENTICATION)
    if name != account:
        raise _failed(f"The account {name!r} is unknown here")
    _check_date(request, now)
    given = _decode(signature)
    if not any(hmac.compare_digest(given, sign(key, text)) for text in strings_to_sign(request, account)):
        raise _failed("The signature is not the one of this request with the account's key")


def _verify_token(token: str, accepted: Collection[str] | None, now: datetime) -> None:
    if accepted is not None:
        known = [hmac.compare_digest(token.encode(), each.encode()) for each in accepted]
        reason = "" if any(known) else "The token is not one of those that this service was started with"
    else:
        reason = _token_trouble(token, now)
    if reason:
        raise _token_refused(reason)


def _token_refused(reason: str) -> ServiceFault:
    problem = _failed(reason, BEARER_REFUSED)
    problem.headers["WWW-Authenticate"] = _CHALLENGE
    return problem


def is_management(raw_path: str) -> bool:
    """Whether a path is one of Azure Resource Manager's, and not of Azure Batch itself."""
    return raw_path.lower().startswith("/subscriptions/")


def _token_trouble(token: str, now: datetime) -> str:
    """What is wrong with a JSON web token; signatures cannot be checked here."""
    parts = token.split(".")
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except ValueError:
        return "The token is not a JSON web token"
    if len(parts) != 3 or not isinstance(header, dict) or not isinstance(claims, dict):
        return "The token is not a JSON web token"
    expires = claims.get("exp", math.inf)
    if not isinstance(expires, int | float) or expires < now.timestamp():
        return "The token has expired"
    return ""


def sign(key: str, text: str) -> bytes:
    """HMAC-SHA256 of the text with the base64 key."""
    return hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()


def strings_to_sign(request: SignedRequest, account: str) -> Iterator[str]:
    """Every accepted form of the string to sign, the most usual first."""
    length = request.headers.get("content-length", "")
    lengths = (length, _OTHER_LENGTH[length]) if length in _OTHER_LENGTH else (length,)
    for keep_empty, lower_names, signed_length in product((False, True), (False, True), lengths):
        yield "\n".join(
            [
                request.method,
                *_header_lines(request.headers, signed_length),
                *_ocp_lines(request.headers),
                f"/{account}{request.raw_path}",
                *_query_lines(request.raw_query, keep_empty=keep_empty, lower_names=lower_names),
            ]
        )


def _header_lines(headers: Mapping[str, str], length: str) -> Iterator[str]:
    for name in _SIGNED_HEADERS:
        if name == "content-length":
            yield length
        elif name == "date" and "ocp-date" in headers:
            yield ""
        else:
            yield headers.get(name, "")


def _ocp_lines(headers: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(name for name in headers if name.startswith("ocp-")):
        if headers[name]:
            yield f"{name}:{headers[name]}"


def _query_lines(raw_query: str, *, keep_empty: bool, lower_names: bool) -> Iterator[str]:
    values = parse_qs(raw_query, keep_blank_values=keep_empty)
    shown = {name.lower() if lower_names else name: found[0] for name, found in values.items()}
    for name in sorted(shown):
        yield f"{name}:{shown[name]}"


def _check_date(request: SignedRequest, now: datetime) -> None:
    text = request.headers.get("ocp-date") or request.headers.get("date") or ""
    try:
        age = now - parse_time(text)
    except ValueError:
        raise _failed("The request has no valid ocp-date or Date header") from None
    if abs(age) > _CLOCK_SKEW:
        raise _failed(f"The request's date {text!r} is more than 15 minutes away from the service's")


def _decode(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise ServiceFault(INVALID_AUTHENTICATION) from None


def _failed(reason: str, fault: Fault = AUTHENTICATION_FAILED) -> ServiceFault:
    return ServiceFault(fault, (("AuthenticationErrorDetail", reason),))
