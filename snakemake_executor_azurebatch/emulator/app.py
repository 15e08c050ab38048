"""The pipeline of one request, on one page.

request id -> api-version -> authentication -> route -> body -> handler -> answer; a fault anywhere ends
it with the service's error body. Every request leaves a line in the request log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl

from aiohttp import web

from snakemake_executor_azurebatch.emulator import admin, auth, faults, routes
from snakemake_executor_azurebatch.emulator.calls import Answer, Call, FileSlice
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.requestlog import LineLog, client_name
from snakemake_executor_azurebatch.emulator.routes import Route
from snakemake_executor_azurebatch.emulator.running import RUNTIME_HEADER
from snakemake_executor_azurebatch.emulator.runtime import Runtime
from snakemake_executor_azurebatch.emulator.schema import check_body
from snakemake_executor_azurebatch.emulator.wire import Json, JsonValue, read_json, time_text

log = logging.getLogger(__name__)

CURRENT_VERSION = "2025-06-01"
#: What the clients in use send: azure-batch 15 and 14, the az command line, @azure/batch, and betas.
VERSIONS = frozenset(
    {
        CURRENT_VERSION,
        "2024-07-01.20.0",
        "2024-02-01.19.0",
        "2023-11-01.18.0",
        "2023-05-01.17.0",
        "2022-10-01.16.0",
        "2022-01-01.15.0",
    }
)
#: Of Azure Resource Manager: what azure-mgmt-batch 19 sends.
MANAGEMENT_VERSIONS = ("2025-06-01",)
_JSON, _MANAGEMENT_JSON = "application/json;odata=minimalmetadata", "application/json; charset=utf-8"
_ERROR_TYPE = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
#: In the request log, for an answer that was never sent; never on the wire.
_CUT_STATUS = 0
_CHUNK_BYTES = 256 * 1024
_TRANSPORT_LIMIT_BYTES = 64 * 1024 * 1024


def make_app(runtime: Runtime, request_log: LineLog) -> web.Application:
    """The service as an aiohttp application."""
    app = web.Application(client_max_size=_TRANSPORT_LIMIT_BYTES)
    pipeline = Pipeline(runtime, request_log)
    app.router.add_route("*", "/{path:.*}", pipeline.handle)

    async def say_what_tasks_run_in(request: web.Request, response: web.StreamResponse) -> None:
        # Only where Azure Batch has nothing: elsewhere an answer has the headers of the real one.
        if request.path.startswith(admin.PREFIX):
            response.headers[RUNTIME_HEADER] = runtime.containers.kind if runtime.containers is not None else "process"

    async def say_the_wrong_time(request: web.Request, response: web.StreamResponse) -> None:
        # A service whose clock differs from the client's says so in its answers, refusals too.
        if runtime.clock.skew_s and not request.path.startswith(admin.PREFIX):
            response.headers["Date"] = format_datetime(runtime.clock.wall(), usegmt=True)

    app.on_response_prepare.append(say_what_tasks_run_in)
    app.on_response_prepare.append(say_the_wrong_time)
    return app


class _Cut(Exception):
    """The connection is to break without an answer."""


class Pipeline:
    """Takes every request."""

    def __init__(self, runtime: Runtime, request_log: LineLog) -> None:
        self._runtime = runtime
        self._log = request_log

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, from its headers to its line in the log."""
        began = time.perf_counter()
        request_id = str(uuid.uuid4())
        items = None
        is_cut = False
        try:
            answer = await self._answer(request)
            items = answer.items
        except _Cut:
            is_cut, answer = True, Answer(_CUT_STATUS)
        except ServiceFault as problem:
            answer = self._fault_answer(request, problem, request_id)
        except Exception:
            log.exception("request %s failed", request_id)
            answer = self._fault_answer(request, ServiceFault(faults.INTERNAL_ERROR), request_id)
        entry: Json = {
            "method": request.method,
            "route": _shown_route(request),
            "status": answer.status,
            "duration_ms": round((time.perf_counter() - began) * 1000, 2),
            "client": client_name(request.headers.get("User-Agent", "")),
        }
        self._log.write(self._runtime.clock.now(), entry if items is None else {**entry, "items": items})
        if is_cut and request.transport is not None:
            request.transport.abort()
        return await _send(request, answer, request_id, self._runtime.clock.now())

    async def _answer(self, request: web.Request) -> Answer:
        raw_path, _, raw_query = request.raw_path.partition("?")
        query = {name.lower(): value for name, value in reversed(parse_qsl(raw_query))}
        headers = {name.lower(): value for name, value in request.headers.items()}
        is_admin = raw_path.startswith(admin.PREFIX)
        version = CURRENT_VERSION if is_admin else _check_version(query, is_management=auth.is_management(raw_path))
        body = await _read(request)
        config = self._runtime.config
        signed = auth.SignedRequest(request.method, raw_path, raw_query, headers)
        # a clock that is wrong on purpose must not lock out whoever is to mend it
        moment = datetime.now(UTC) if is_admin else self._runtime.clock.wall()
        auth.verify(signed, config.account, config.key, moment, config.bearer_tokens)
        if is_admin:
            return self._administer(request.method, raw_path, body)
        route, params = routes.find(request.method, raw_path)
        is_answer_lost = await self._disturb(route)
        call = Call(
            service=self._runtime,
            params=params,
            query=query,
            headers=headers,
            base_url=f"{request.scheme}://{request.host}",
            raw_path=raw_path,
            raw_query=raw_query,
            is_legacy=version != CURRENT_VERSION,
            body=_read_body(route, body, is_legacy=version != CURRENT_VERSION),
        )
        answer = self._handled(route, call)
        if is_answer_lost:
            raise _Cut
        return answer

    def _administer(self, method: str, path: str, body: bytes) -> Answer:
        try:
            return admin.handle(self._runtime, method, path, body)
        finally:
            self._runtime.save()

    async def _disturb(self, route: Route) -> bool:
        """Let the injected faults happen; answers whether the answer is to be lost."""
        met = self._runtime.injection.of_request(route.method, route.template)
        for rule in met:
            if rule.kind == "latency":
                await asyncio.sleep(rule.seconds)
        for rule in met:
            if rule.kind == "reset":
                raise _Cut
            if rule.kind == "error":
                raise ServiceFault(faults.INTERNAL_ERROR)
            if rule.kind == "refuse":
                raise ServiceFault(faults.refusal(rule.code))
            if rule.kind == "throttle":
                problem = ServiceFault(faults.TOO_MANY_REQUESTS if rule.status == 429 else faults.SERVER_BUSY)
                problem.headers["Retry-After"] = f"{rule.seconds:g}"
                raise problem
        return any(rule.kind == "lost-answer" for rule in met)

    def _handled(self, route: Route, call: Call) -> Answer:
        """The handler's answer; what it shows or has done is saved before anybody sees it."""
        if route.method not in ("GET", "HEAD"):
            try:
                return route.handler(call)
            finally:
                self._runtime.save()
        self._runtime.save()
        try:
            return route.handler(call)
        finally:
            self._runtime.only_read()

    def _fault_answer(self, request: web.Request, problem: ServiceFault, request_id: str) -> Answer:
        if problem.fault.status == 304:
            return Answer(304)
        moment = time_text(self._runtime.clock.now())
        sentence = f"{problem.sentence}\nRequestId:{request_id}\nTime:{moment}"
        if auth.is_management(request.raw_path):
            details = [{"code": key, "message": value} for key, value in problem.values]
            error = {"code": problem.fault.code, "message": sentence, "details": details}
            return Answer(problem.fault.status, {"error": error}, headers=problem.headers)
        body: Json = {
            "odata.metadata": f"{request.scheme}://{request.host}/$metadata#{_ERROR_TYPE}",
            "code": problem.fault.code,
            "message": {"lang": "en-US", "value": sentence},
        }
        if problem.values:
            body["values"] = [{"key": key, "value": value} for key, value in problem.values]
        return Answer(problem.fault.status, body, headers=problem.headers)


def _shown_route(request: web.Request) -> str:
    """The operation's template, for the log; empty where there is none."""
    path = request.raw_path.partition("?")[0]
    return path if path.startswith(admin.PREFIX) else routes.template(request.method, path)


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ServiceFault(faults.BODY_TOO_LARGE, (("MaxLimit", str(_TRANSPORT_LIMIT_BYTES)),)) from None


def _check_version(query: Mapping[str, str], *, is_management: bool) -> str:
    version = query.get("api-version")
    if not version:
        raise ServiceFault(faults.MISSING_QUERY_PARAMETER, (("QueryParameterName", "api-version"),))
    if is_management:
        if version not in MANAGEMENT_VERSIONS:
            known = ", ".join(MANAGEMENT_VERSIONS)
            raise ServiceFault(faults.UNSUPPORTED_MANAGEMENT_VERSION, version=version, known=known)
        return CURRENT_VERSION
    if version not in VERSIONS:
        raise ServiceFault(
            faults.UNSUPPORTED_VERSION,
            (("QueryParameterName", "api-version"), ("QueryParameterValue", version)),
        )
    return version


def _read_body(route: Route, raw: bytes, *, is_legacy: bool) -> JsonValue:
    """The checked body. A body that the operation does not take (``{}`` with terminate) is ignored."""
    if len(raw) > route.body_limit_bytes:
        raise ServiceFault(faults.BODY_TOO_LARGE, (("MaxLimit", str(route.body_limit_bytes)),))
    if not route.model and not (route.is_management and raw.strip()):
        return None
    if route.is_body_optional and not raw.strip():
        return {}
    try:
        body = read_json(raw)
    except ValueError as error:
        raise ServiceFault(faults.INVALID_REQUEST_BODY, (("Reason", f"This is not JSON: {error}"),)) from None
    return body if route.is_management else check_body(route.model, body, is_legacy=is_legacy)


async def _send(request: web.Request, answer: Answer, request_id: str, now: datetime) -> web.StreamResponse:
    headers = {
        "Date": format_datetime(now, usegmt=True),
        "DataServiceVersion": "3.0",
        "request-id": request_id,
        "X-Content-Type-Options": "nosniff",
        "Server": "snakemake-azurebatch-local-service",
        **answer.headers,
    }
    if request.headers.get("return-client-request-id", "").lower() == "true":
        headers["client-request-id"] = request.headers.get("client-request-id", "")
    if answer.file is not None:
        return await _send_file(request, answer.file, headers)
    payload = b""
    if answer.body is not None:
        headers["Content-Type"] = _MANAGEMENT_JSON if auth.is_management(request.raw_path) else _JSON
        payload = json.dumps(answer.body).encode()
    if request.method == "HEAD":
        payload = b""
    return web.Response(status=answer.status, reason=_reason(answer), headers=headers, body=payload)


def _reason(answer: Answer) -> str | None:
    """The reason phrase repeats the error's sentence (source: recorded exchange)."""
    if answer.body is None or answer.status < 400 or "message" not in answer.body:
        return None
    return str(answer.body["message"]["value"]).split("\n", 1)[0]


async def _send_file(request: web.Request, part: FileSlice, headers: Mapping[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=200, headers=headers)
    await response.prepare(request)
    left = part.size_bytes
    with await asyncio.to_thread(part.path.open, "rb") as stream:
        await asyncio.to_thread(stream.seek, part.offset)
        while left > 0:
            chunk = await asyncio.to_thread(stream.read, min(left, _CHUNK_BYTES))
            if not chunk:
                break
            left -= len(chunk)
            await response.write(chunk)
    await response.write_eof()
    return response
