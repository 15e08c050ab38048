"""What a handler gets (a call) and gives (an answer), and what all handlers need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from snakemake_executor_azurebatch.emulator import faults
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property, invalid_query, not_emulated
from snakemake_executor_azurebatch.emulator.model import Job, Pool, Task
from snakemake_executor_azurebatch.emulator.runtime import Runtime
from snakemake_executor_azurebatch.emulator.wire import (
    Json,
    JsonValue,
    duration_s,
    http_date,
    parse_time,
    ticks,
    time_text,
)
from snakemake_executor_azurebatch.emulator.wire import etag_text as etag_text_of

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SUBNET = re.compile(
    rf"/subscriptions/{_GUID}/resourceGroups/[^/]+"
    r"/providers/[^/]+/virtualNetworks/[^/]+/subnets/[^/]+",
    re.IGNORECASE,
)
_SECRETS = frozenset({"password", "sshPrivateKey", "accountKey", "sasKey"})


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request. Query and header names are in lower case."""

    service: Runtime
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    base_url: str  #: scheme and host as the client used them
    raw_path: str
    raw_query: str
    is_legacy: bool  #: of an api-version before 2025-06-01
    body: JsonValue = None

    @property
    def url(self) -> str:
        """Absolute URL of what was asked for, without the query."""
        return self.base_url + self.raw_path


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Part of a file, as an answer's body."""

    path: Path
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. ``items``: how many tasks a collection had, for the request log."""

    status: int = 200
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: FileSlice | None = None
    items: int | None = None


# -- finding things -------------------------------------------------------------------------------


def find_pool(call: Call) -> Pool:
    """The pool that the URL names, or 404."""
    pool = call.service.state.pools.get(call.params["poolId"].lower())
    if pool is None:
        raise ServiceFault(faults.POOL_NOT_FOUND)
    return pool


def find_job(call: Call) -> Job:
    """The job that the URL names, or 404."""
    job = call.service.state.jobs.get(call.params["jobId"].lower())
    if job is None:
        raise ServiceFault(faults.JOB_NOT_FOUND)
    return job


def find_task(call: Call) -> tuple[Job, Task]:
    """The task that the URL names and its job, or 404."""
    job = find_job(call)
    task = job.tasks.get(call.params["taskId"].lower())
    if task is None:
        raise ServiceFault(faults.TASK_NOT_FOUND)
    return job, task


# -- checking -------------------------------------------------------------------------------------


def check_id(text: str) -> str:
    """An id of 1 to 64 letters, digits, hyphens and underscores, or 400."""
    if not _ID.fullmatch(text):
        raise invalid_property("id", text, "An id has 1 to 64 letters, digits, hyphens and underscores")
    return text


def check_range(body: Json, name: str, lowest: int, highest: int) -> None:
    """A whole number within its limits, or 400."""
    value = body.get(name)
    if value is not None and not lowest <= value <= highest:
        raise invalid_property(name, value, f"The value must be between {lowest} and {highest}")


def seconds_of(body: Json, name: str) -> float | None:
    """A duration in seconds; None where there is none, or no limit."""
    return duration_s(body[name]) if name in body else None


def check_subnet(body: Json) -> None:
    """A pool's subnetId has the form of one, or 400. Whose it is cannot be told here: there are no subscriptions."""
    subnet = body.get("networkConfiguration", {}).get("subnetId")
    if subnet is not None and not _SUBNET.fullmatch(subnet):
        raise invalid_property("subnetId", subnet, "The value must be the resource id of a subnet")


def refuse(body: Json, features: Mapping[str, str]) -> None:
    """501 for a member that asks for what is not emulated; empty and false ones ask for nothing."""
    for name, what in features.items():
        if body.get(name):
            raise not_emulated(f"{what} ({name})")


def check_expand(call: Call) -> None:
    """Statistics may be asked for, and are never there yet (source: public documentation, they may lag)."""
    text = call.query.get("$expand")
    if text and any(name.strip() != "stats" for name in text.split(",")):
        raise invalid_query("$expand", text, "Only stats can be expanded")


def check_conditions(call: Call, wire: Json, *, is_read: bool) -> None:
    """The four conditional headers: 304 for reads and 412 for writes where they do not hold.

    ETags are compared without the quotes that the SDKs add.
    """
    etag, changed = wire["eTag"], parse_time(wire["lastModified"]).replace(microsecond=0)
    given = {name: call.headers.get(f"if-{name}") for name in ("match", "none-match")}
    since = {name: call.headers.get(f"if-{name}-since") for name in ("modified", "unmodified")}
    holds = (
        (given["match"] is None or _names(given["match"], etag))
        and (given["none-match"] is None or not _names(given["none-match"], etag))
        and (since["modified"] is None or changed > _header_time(since["modified"]))
        and (since["unmodified"] is None or changed <= _header_time(since["unmodified"]))
    )
    if not holds:
        raise ServiceFault(faults.NOT_MODIFIED if _is_304(call, is_read=is_read) else faults.CONDITION_NOT_MET)


def _is_304(call: Call, *, is_read: bool) -> bool:
    return is_read and ("if-none-match" in call.headers or "if-modified-since" in call.headers)


def _names(header: str, etag: str) -> bool:
    return any(part.strip().strip('"') in ("*", etag) for part in header.split(","))


def _header_time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise ServiceFault(faults.INVALID_HEADER_VALUE) from None


# -- making ---------------------------------------------------------------------------------------


def fresh(service: Runtime) -> Json:
    """``eTag`` and ``lastModified`` of something that a user changes now."""
    now = service.clock.now()
    return {"eTag": etag_text_of(service.state.etag(ticks(now))), "lastModified": time_text(now)}


def without_secrets(value: JsonValue) -> JsonValue:
    """A body as the service shows it again: no passwords, no keys (source: public documentation)."""
    if isinstance(value, dict):
        return {name: without_secrets(inner) for name, inner in value.items() if name not in _SECRETS}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def version_headers(wire: Json) -> dict[str, str]:
    """ETag and Last-Modified of a resource."""
    return {"ETag": wire["eTag"], "Last-Modified": http_date(parse_time(wire["lastModified"]))}


def created(wire: Json, url: str) -> Answer:
    """201: an empty body, and where the new resource is."""
    return Answer(201, headers={"Location": url, "DataServiceId": url, **version_headers(wire)})


def changed(call: Call, wire: Json, status: int = 200) -> Answer:
    """An empty answer to an action on a resource."""
    return Answer(status, headers={"DataServiceId": call.url, **version_headers(wire)})
