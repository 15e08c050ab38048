"""Blob storage that fails on purpose: what clients and tasks talk to instead of Azurite, when that is wanted.

Passes everything on, and lets the faults for the endpoint ``blob`` happen on the way. Signatures hold: they
do not cover the port.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from snakemake_executor_azurebatch.emulator.faultinjection import FaultInjection, FaultRule

log = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
#: Of one connection, not of the message.
_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "expect"})
_LONGEST = aiohttp.ClientTimeout(total=None, sock_connect=10)


class BlobProxy:
    """An HTTP server on 127.0.0.1 in front of a blob endpoint."""

    def __init__(self, injection: FaultInjection, target_port: int) -> None:
        self._injection = injection
        self._target_port = target_port
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.port = 0

    async def start(self, port: int = 0) -> Self:
        """Listen; ``port`` 0 is any free one. Raises OSError."""
        self._session = aiohttp.ClientSession(
            timeout=_LONGEST, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        met = self._injection.of_blob_request(request.method, request.raw_path.partition("?")[0])
        for rule in met:
            if rule.kind == "latency":
                await asyncio.sleep(rule.seconds)
        for rule in met:
            if rule.kind == "reset":
                return _cut(request)
            if rule.kind in ("throttle", "error"):
                await request.read()
                return _refusal(rule)
        return await self._pass_on(request, is_lost=any(rule.kind == "lost-answer" for rule in met))

    async def _pass_on(self, request: web.BaseRequest, *, is_lost: bool) -> web.StreamResponse:
        assert self._session is not None  # noqa: S101 (for the type checker: started)
        url = URL(f"http://127.0.0.1:{self._target_port}{request.raw_path}", encoded=True)
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _HOP_HEADERS)
        body = request.content if request.body_exists else None
        skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, skip_auto_headers=skipped, allow_redirects=False
            ) as answer:
                if is_lost:
                    await answer.read()
                    return _cut(request)
                return await _copy(request, answer)
        except aiohttp.ClientError as error:  # Azurite is gone, or broke off: so does this
            log.warning("blob storage did not answer: %s", type(error).__name__)
            return _cut(request)


async def _copy(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = CIMultiDict((k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_HEADERS)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    return response


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _refusal(rule: FaultRule) -> web.Response:
    """As Azure Storage answers (source: public documentation of its error codes)."""
    if rule.kind == "error":
        status, code, words = (
            500,
            "InternalError",
            "Server encountered an internal error. Please try again after some time.",
        )
    else:
        status, code, words = 503, "ServerBusy", "The server is busy."
    request_id = str(uuid.uuid4())
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{code}</Code><Message>{words}\nRequestId:{request_id}</Message></Error>"
    )
    headers = {"x-ms-error-code": code, "x-ms-request-id": request_id, "Content-Type": "application/xml"}
    if rule.kind == "throttle" and rule.seconds:
        headers["Retry-After"] = f"{rule.seconds:g}"
    return web.Response(status=status, body=body.encode(), headers=headers)
