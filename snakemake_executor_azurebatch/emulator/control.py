"""A client for this service's own operations (``/_admin``). Standard library only; signs with SharedKey."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import HTTPException
from typing import Any

from .config import DEVELOPMENT_KEY
from .running import RunningService, connect

_TIMEOUT_S = 30.0


class ControlError(Exception):
    """The service refused, or did not answer. The message says why."""


class Control:
    """Makes faults and moves the clock of one running service."""

    def __init__(self, service: RunningService) -> None:
        self._service = service

    def add_fault(self, kind: str, **members: str | float) -> dict[str, Any]:
        """Add a fault; answers it with its id, and the nodes it struck. Raises ControlError.

        Kinds and their members: see ``faultinjection.KINDS``.
        """
        return self._ask("POST", "faults", {"kind": kind, **members})

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force. Raises ControlError."""
        return list(self._ask("GET", "faults")["value"])

    def remove_fault(self, number: int) -> None:
        """Remove one fault. Raises ControlError."""
        self._ask("DELETE", f"faults/{number}")

    def clear_faults(self) -> None:
        """Remove all faults. What they did stays done. Raises ControlError."""
        self._ask("DELETE", "faults")

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes of all pools. Raises ControlError."""
        return list(self._ask("GET", "nodes")["value"])

    def clock(self, **changes: float) -> dict[str, Any]:
        """The service's clock: now, speed, skewSeconds. ``changes``: advanceSeconds, speed, skewSeconds.

        Raises ControlError.
        """
        return self._ask("POST", "clock", dict(changes)) if changes else self._ask("GET", "clock")

    def _ask(self, method: str, name: str, body: object = None) -> dict[str, Any]:
        path = f"/_admin/{name}"
        payload = b"" if body is None else json.dumps(body).encode()
        try:
            connection = connect(self._service.batch_url, self._service.ca_file, _TIMEOUT_S)
            try:
                connection.request(method, path, payload, self._headers(method, path, payload))
                response = connection.getresponse()
                answer = json.loads(response.read() or b"{}")
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as error:
            raise ControlError(f"The local service at {self._service.batch_url} did not answer: {error}") from error
        if response.status >= 400:
            raise ControlError(_words(answer))
        return dict(answer)

    def _headers(self, method: str, path: str, payload: bytes) -> dict[str, str]:
        date = format_datetime(datetime.now(UTC), usegmt=True)
        length = str(len(payload)) if payload else "0"
        kind = "application/json"
        lines = [method, "", "", length, "", kind, "", "", "", "", "", "", f"ocp-date:{date}"]
        text = "\n".join([*lines, f"/{self._service.account}{path}"])
        signature = hmac.new(base64.b64decode(DEVELOPMENT_KEY), text.encode(), hashlib.sha256).digest()
        return {
            "Authorization": f"SharedKey {self._service.account}:{base64.b64encode(signature).decode()}",
            "Content-Length": length,
            "Content-Type": kind,
            "ocp-date": date,
            "User-Agent": "snakemake-azurebatch-control",
        }


def _words(answer: dict[str, Any]) -> str:
    """The reason that the service gives, or its sentence."""
    reasons = [str(item["value"]) for item in answer.get("values", ())]
    sentence = str(answer.get("message", {}).get("value", "refused")).split("\n", 1)[0]
    return "; ".join(reasons) or sentence
