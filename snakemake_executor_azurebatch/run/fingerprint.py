"""What the result of a job depends on, as one hash: an old task is good for a job only where this is equal.

Inputs count by path, size and time of change (folders by a listing of all that is in them), the code by the digest
of the sources and by the call or the rendered command with its parameters, and whatever else a task is given.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch import __version__
from snakemake_executor_azurebatch.jobs import JobRequest, NeededFile
from snakemake_executor_azurebatch.node.protocol import VERSION
from snakemake_executor_azurebatch.staging.stamps import Stamp

#: Options whose last value counts: their order is part of what they say.
_ORDERED = ("--config", "--configfiles", "--configfile")

#: Names a group by one of its last jobs, and by another one in the next process (seen with snakemake 9.27.1).
_RANDOM = "--local-groupid"


@dataclass(frozen=True, slots=True)
class Context:
    """What the jobs of one run have in common."""

    salt: str  #: keeps a hash of secrets (the environment is part of it) from being guessed by those who see task ids
    image: str | None
    sources: str  #: blob of the sources, which is named by what is in them
    snakemake_version: str


def fingerprint(request: JobRequest, context: Context, versions: Sequence[str] = ()) -> str:
    """The fingerprint of a job, in hexadecimal. ``versions``: of inputs that are not on this machine.

    The attempt is no part of it, nor are the key and the name: rules are part of the work, and names of groups can be
    new ones in each process. Members of a group come in any order.
    """
    way, stored = request.way, request.stored
    parts = {
        "context": context,
        "version": [__version__, VERSION],
        "job": [request.threads, request.runtime_s, request.folder, request.benchmark],
        "work": work_of(request.members),
        "script": canonical(request.script),
        "rendered": request.rendered,
        "way": [way.lane, way.image, way.staging] if way else None,
        "pins": sorted(_as_text(pin) for pin in request.pins),
        "environment": dict(request.environment),
        "resources": dict(request.resources),
        "products": [sorted(map(repr, products)) for products in (request.outputs, request.logs)],
        "inputs": sorted(_stamped(needed) for needed in request.inputs),
        "stored": [sorted(map(repr, ones)) for ones in (stored.inputs, stored.outputs, stored.logs, stored.folders)],
        "providers": [request.staged_providers, request.task_providers],
        "versions": sorted(versions),
    }
    return hashlib.sha256(_as_text(parts).encode()).hexdigest()


def work_of(members: Iterable[Mapping[str, Any]]) -> str:
    """Rule and wildcards of each job of a task, as text; whatever order they come in."""
    return json.dumps(sorted(work_of_one(one["rule"], one["wildcards"]) for one in members))


def work_of_one(rule: str, wildcards: Mapping[str, str]) -> str:
    """Rule and wildcards of one job, as text."""
    return json.dumps([str(rule), {name: str(value) for name, value in wildcards.items()}], sort_keys=True)


def works_in(work: str) -> set[str]:
    """The single jobs of what ``work_of`` gave."""
    return set(json.loads(work))


def canonical(script: str) -> list[list[str]]:
    """A call with the values of each option in order: Snakemake writes sets (seen with snakemake 9.27.1).

    Without what says nothing of the work.
    """
    if not script:  # of a job with a rendered command
        return []
    try:
        words = shlex.split(script)
    except ValueError:
        return [[script]]
    return [[option, *values] for option, values in _options(words) if option != _RANDOM]


def _options(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    numbered, number = [], 0
    for word in words:
        number += word.startswith("--")
        numbered.append((number, word))
    for _, group in groupby(numbered, lambda item: item[0]):
        option, *values = [word for _, word in group]
        yield option, values if option in _ORDERED else sorted(values)


def _plain(one: Any) -> Any:  # noqa: ANN401
    """What JSON does not know. A record is its fields: ``asdict`` would copy all that is in it first."""
    kind: type = type(one)
    return {name: getattr(one, name) for name in _names(kind)} if is_dataclass(kind) else repr(one)


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """Of the fields of a record."""
    return tuple(field.name for field in fields(kind))  # once for each kind: it is slow


_as_text = json.JSONEncoder(sort_keys=True, default=_plain).encode


def _stamped(needed: NeededFile) -> list[str]:
    try:
        stamp = Stamp.of(Path(needed.local))
    except OSError:
        return [needed.path, needed.kind, "missing"]
    return [needed.path, needed.kind, str(stamp.size_bytes), str(stamp.mtime_ns), stamp.listing]
