"""Plain signed requests: what an answer looks like before any SDK has read it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from email.utils import formatdate
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY


@dataclass(frozen=True)
class RawAnswer:
    """Status, headers as sent, and the body's bytes."""

    status: int
    reason: str
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The service's code of an error."""
        return str(self.json()["code"])


class RawClient:
    """One connection to a local service; every request is signed with the development key."""

    def __init__(self, url: str, *, version: str = "2025-06-01") -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc)
        self.version = version

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> RawAnswer:
        """Send a request. ``target`` is path and query; the api-version is added where it has none.

        ``body`` is bytes, or anything that JSON can hold.
        """
        if "api-version=" not in target.lower():
            target += f"{'&' if '?' in target else '?'}api-version={self.version}"
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"ocp-date": formatdate(usegmt=True), **(headers or {})}
        if content:
            sent.setdefault("Content-Type", "application/json; odata=minimalmetadata")
        if method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(len(content))
        sent["Authorization"] = _authorization(method, target, sent)
        self._connection.request(method, target, content or None, sent)
        answer = self._connection.getresponse()
        return RawAnswer(answer.status, answer.reason, dict(answer.getheaders()), answer.read())


def _authorization(method: str, target: str, headers: dict[str, str]) -> str:
    given = {name.lower(): value for name, value in headers.items()}
    names = ("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date")
    names += ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
    path, _, query = target.partition("?")
    lines = [method, *(given.get(name, "") for name in names)]
    lines += [f"{name}:{given[name]}" for name in sorted(given) if name.startswith("ocp-")]
    lines.append(f"/{DEVELOPMENT_ACCOUNT}{path}")
    lines += [f"{name}:{value}" for name, value in sorted(dict(parse_qsl(query)).items())]
    digest = hmac.digest(base64.b64decode(DEVELOPMENT_KEY), "\n".join(lines).encode(), hashlib.sha256)
    return f"SharedKey {DEVELOPMENT_ACCOUNT}:{base64.b64encode(digest).decode()}"
