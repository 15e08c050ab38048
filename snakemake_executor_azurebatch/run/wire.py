"""Answers of Azure Batch as they are on the wire: making the SDK's models of them takes ten times as long."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any


def taking(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Keywords for a call of the SDK whose answer is a list of rows: they go to ``rows``, and none are left in it.

    An answer decodes its JSON once, so none are left for the SDK to make models of. Its pipeline decodes the text once
    more, for nobody, unless the answer is taken to be a stream (all of it seen with azure-core 1.41). If that changes,
    it is done in vain again.
    """

    def take(answer: Any) -> None:  # noqa: ANN401 (azure-core's PipelineResponse)
        if answer.http_response.status_code == HTTPStatus.OK:
            with suppress(ValueError):  # no JSON: the SDK says so
                body = answer.http_response.json()
                rows.extend(body.get("value", []))
                body["value"] = []
                answer.context.options["stream"] = True

    return {"raw_response_hook": take}
