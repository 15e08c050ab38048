"""A Snakemake job (or group of jobs) read into plain values.

Read in the scheduler's thread only: the DAG changes in that thread. Paths are given relative to the folder
where ``snakemake`` was started (the workdir of the manifest), which a ``workdir:`` directive may differ from.
"""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.lanes import Way
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, FILE, Product
from snakemake_executor_azurebatch.places import Places
from snakemake_executor_azurebatch.rendering import Rendered
from snakemake_executor_azurebatch.storage import Providers, StoredObject, StoredObjects

#: Snakemake's Job or GroupJob, one of its files, a list of them with names: nothing that mypy knows.
Job = Any
IOFile = Any
Files = Any

#: Flags of files that never travel: they exist inside one Snakemake process, or are made on the node.
NOT_STAGED = ("sourcecache_entry", "pipe", "service", "nodelocal")


@dataclass(frozen=True, slots=True)
class NeededFile:
    """An input of a job. ``path`` is relative to the start folder or absolute; ``local`` is absolute."""

    path: str
    local: Path
    kind: str = FILE


@dataclass(frozen=True, slots=True)
class Share:
    """What a job gets of a node, where there are pools to choose from."""

    pool: str  #: by its name in pools.yaml
    slots: int
    run_options: str = ""  #: limits of its container, as options of ``docker create``
    why: str = ""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One remote job. ``key`` is unique within the run and stands for the job everywhere."""

    key: str
    name: str  #: of the rule, or of the group
    threads: int
    runtime_s: int | None
    script: str  #: the remote call, as shell text
    inputs: tuple[NeededFile, ...] = ()
    outputs: tuple[Product, ...] = ()
    logs: tuple[Product, ...] = ()
    pins: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stored: StoredObjects = field(default_factory=StoredObjects)  #: in a storage provider, and moved by the stager
    staged_providers: tuple[str, ...] = ()  #: whose files the stager moves
    task_providers: tuple[str, ...] = ()  #: whose plugin moves them, in the task
    members: tuple[Mapping[str, Any], ...] = ()  #: {"rule", "wildcards"} of each job, in the order they run
    attempt: int = 1
    resources: Mapping[str, int | float | str] = field(default_factory=dict)  #: as requested, in Snakemake's units
    way: Way | None = None  #: None: with Snakemake, in the image of the run
    rendered: Rendered | None = None  #: in place of ``script``
    folder: str = "."  #: where a rendered command starts, relative to the start folder
    benchmark: str = ""  #: the file that a rendered command's figures go to; one of the outputs
    share: Share | None = None  #: None: one slot per thread, in the only pool


def members(job: Job) -> list[Job]:
    """The jobs of a group in the order in which they run; a single job alone."""
    return [member for level in levels(job) for member in level]


def levels(job: Job) -> list[list[Job]]:
    """The jobs of a group, those together that do not wait for each other; a single job alone."""
    return [list(level) for level in job.toposorted] if job.is_group() else [[job]]


class Reader:
    """Reads jobs of one workflow, started in ``start_folder``.

    ``why_confined`` is asked once a job has a product outside of that: why none can be there, or nothing.
    ``only_here`` are folders that no node has: values with such a path are for the node to work out.
    """

    def __init__(
        self,
        start_folder: Path,
        why_confined: Callable[[], str],
        providers: Providers,
        only_here: Collection[str],
    ) -> None:
        self._start = start_folder
        self._providers = providers
        self._only_here = only_here
        self._why_confined = why_confined
        self._here = Path.cwd()
        self._place = functools.lru_cache(1000)(self._placed)  # each file of a job is asked for several times

    def read(
        self, job: Job, *, key: str, script: str, unneeded: Iterable[str], environment: Mapping[str, str]
    ) -> JobRequest:
        """Read one job. ``unneeded``: temporary outputs that no other job needs; ``script``: "" for a rendered one.

        Raises AzureBatchError for outputs that cannot be brought back.
        """
        jobs, unneeded = members(job), set(map(str, unneeded))
        problems = [problem for member in jobs for problem in self.problems(member)]
        if problems:
            raise AzureBatchError("\n".join(problems))
        return JobRequest(
            key=key,
            name=str(job.groupid) if job.is_group() else str(job.rule.name),
            threads=max(1, int(job.threads)),
            runtime_s=_runtime_s(job.resources),
            script=script,
            inputs=tuple(self._inputs(jobs)),
            outputs=tuple(self._outputs(jobs, unneeded)),
            logs=tuple(self._product(f, optional=True) for member in jobs for f in member.log if _travels(f)),
            pins=tuple(self._pin(member) for member in jobs) if script else (),
            environment=environment,
            members=tuple({"rule": str(m.rule.name), "wildcards": _wildcards(m)} for m in jobs),
            attempt=int(job.attempt),
            resources=_plain(job.resources),
            stored=self._stored(levels(job), unneeded if job.is_group() else set()),
            staged_providers=tuple(self._providers.staged),
            task_providers=tuple(self._providers.in_task),
        )

    def inputs(self, job: Job) -> list[NeededFile]:
        """What a job or a group needs that none of its own members makes."""
        return list(self._inputs(members(job)))

    def local(self, path: str) -> Path:
        """Where a file of the workflow is on this machine."""
        return self._here / path

    def sent(self, request: JobRequest, job: Job, way: Way, rendered: Rendered | None) -> JobRequest:
        """The request with the way that its job takes; ``rendered``: of a single job, in place of the script."""
        if rendered is None:
            return replace(request, way=way)
        benchmark = self._place(str(job.benchmark)) if job.benchmark else ""
        return replace(request, way=way, rendered=rendered, folder=self._place("."), benchmark=benchmark)

    def problems(self, job: Job) -> list[str]:
        """Why this job's files could not come to where they belong: one sentence per file."""
        files = [*job.output, *job.log, *([job.benchmark] if job.benchmark else [])]
        return [
            *self._providers.problems(job),
            *self._outside_problems(job, files),
        ]

    def _outside_problems(self, job: Job, files: list[IOFile]) -> list[str]:
        return [
            f"rule {job.rule.name}: {str(f)!r} {reason}"
            for f in files
            if _travels(f) and (reason := self._outside(str(f)))
        ]

    def _outside(self, path: str) -> str:
        place = self._place(path)
        if not place.startswith(("/", os.pardir)):  # the quick answer for nearly all
            return ""
        return Places(self._start, self._why_confined()).problem(place)

    def _placed(self, path: str) -> str:
        if Path(path).is_absolute():
            return path
        if self._here == self._start:  # nearly always
            return os.path.normpath(path)
        return os.path.relpath(self._here / path, self._start)

    def _inputs(self, jobs: list[Job]) -> Iterator[NeededFile]:
        made = {str(f) for job in jobs for f in job.output}
        seen: set[str] = set()
        for f in _staged_in(jobs, made):
            path = self._place(str(f))
            if path not in seen:
                seen.add(path)
                local = self.local(str(f))
                yield NeededFile(path, local, DIRECTORY if local.is_dir() else FILE)

    def _outputs(self, jobs: list[Job], unneeded: set[str]) -> Iterator[Product]:
        for job in jobs:
            for f in [*job.output, *([job.benchmark] if job.benchmark else [])]:
                if _travels(f):
                    yield self._product(f, optional=str(f) in unneeded)

    def _stored(self, by_level: list[list[Job]], unneeded: set[str]) -> StoredObjects:
        """What the stager moves from and to a storage provider, without ``unneeded`` outputs."""
        made = {str(f) for jobs in by_level for job in jobs for f in job.output}
        inputs: dict[str, StoredObject] = {}
        outputs: list[StoredObject] = []
        logs: list[StoredObject] = []
        folders: dict[str, None] = {}
        for level, jobs in enumerate(by_level):
            for job in jobs:
                inputs.update((one.path, one) for one in self._described(job.input, level, made))
                benchmark = [job.benchmark] if job.benchmark else []
                outputs += self._described([*job.output, *benchmark], level, unneeded)
                logs += self._described(job.log, level, set())
                folders.update(
                    (str(Path(self._place(str(f))).parent), None)
                    for f in job.output
                    if str(f) in unneeded and self._providers.is_staged(f)
                )
        return StoredObjects(tuple(inputs.values()), tuple(outputs), tuple(logs), tuple(folders))

    def _described(self, files: Iterable[IOFile], level: int, without: set[str]) -> Iterator[StoredObject]:
        for f in files:
            if str(f) not in without and self._providers.is_staged(f) and not _flags(f).keys() & set(NOT_STAGED):
                yield self._providers.describe(f, self._place(str(f)), level)

    def _pin(self, job: Job) -> dict[str, Any]:
        """What the controller decided about the job; ``pinned_snakemake`` describes the shape."""
        pinned = not any(flag in _flags(f) for f in job.input for flag in NOT_STAGED)
        stored = [f for f in job.input if getattr(f, "is_storage", False)]
        return {
            "rule": job.rule.name,
            "wildcards": {name: str(value) for name, value in job.wildcards_dict.items()},
            "input": [str(f) for f in job.input] if pinned else None,
            "names": _names(job.input),
            "storage": {
                str(f): [self._providers.name_of(f), str(f.storage_object.query), bool(f.storage_object.retrieve)]
                for f in stored
            },
            "params": [_literal(value, self._only_here) for value in job.params],
            "param_names": _names(job.params),
            "output": [str(f) for f in job.output],
        }

    def _product(self, f: IOFile, *, optional: bool) -> Product:
        kind, touch = DIRECTORY if "directory" in _flags(f) else FILE, "touch" in _flags(f)
        return Product(self._place(str(f)), kind, optional, touch=touch)


def _staged_in(jobs: list[Job], made: set[str]) -> Iterator[IOFile]:
    """Inputs that come from outside the group, and the present state of files that the job updates."""
    for job in jobs:
        yield from (f for f in job.input if str(f) not in made and _travels(f))
        yield from (f for f in job.output if "update" in _flags(f) and Path(f).exists())


def _travels(f: IOFile) -> bool:
    return not getattr(f, "is_storage", False) and not any(flag in _flags(f) for flag in NOT_STAGED)


def _flags(f: IOFile) -> Mapping[str, Any]:
    return getattr(f, "flags", None) or {}


def _wildcards(job: Job) -> dict[str, str]:
    return {name: str(value) for name, value in job.wildcards_dict.items()}


def _plain(resources: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Resources without those that are only known later, and without Snakemake's own ``_cores`` and ``_nodes``."""
    return {
        str(name): value
        for name, value in resources.items()
        if isinstance(value, int | float | str) and not str(name).startswith("_")
    }


def _runtime_s(resources: Mapping[str, Any]) -> int | None:
    """Snakemake's ``runtime`` is in minutes (source: Snakemake documentation, standard resources)."""
    minutes = resources.get("runtime")
    return int(minutes * 60) if isinstance(minutes, int | float) and minutes > 0 else None


def _names(files: Files) -> dict[str, list[int | None]]:
    return {name: [start, end] for name, (start, end) in files._get_names()}  # noqa: SLF001 (there is no public one)


def _literal(value: Any, only_here: Collection[str]) -> str | None:  # noqa: ANN401
    """A value as a Python literal; None where it is not a literal, or is only known on the node."""
    text = repr(value)
    try:
        tree = ast.parse(text, mode="eval")
        same = ast.literal_eval(tree)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if same != value or "<TBD>" in text or any(repr(folder)[1:-1] in text for folder in only_here):
        return None
    sets = [node for node in ast.walk(tree) if isinstance(node, ast.Set)]
    for node in sets:  # their order is another one in each process, and the text is a part of the job's fingerprint
        node.elts.sort(key=ast.unparse)
    return ast.unparse(tree) if sets else text
