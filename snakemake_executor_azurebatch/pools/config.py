"""``pools.yaml`` read and checked: all that is wrong with it is told at once, with the line and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.options import FIXED
from snakemake_executor_azurebatch.pools import model, rules
from snakemake_executor_azurebatch.pools.catalogue import Catalogue, VmSize, bundled, catalogue_of
from snakemake_executor_azurebatch.pools.description import (
    Disk,
    MountPoint,
    PoolDescription,
    RegistryAccess,
    Span,
    StartScript,
)
from snakemake_executor_azurebatch.pools.marks import Document, Problem
from snakemake_executor_azurebatch.pools.packing import MOST_PACKED, SCRIPT, pack
from snakemake_executor_azurebatch.pools.sizing import GIB, sizes_for, why_none
from snakemake_executor_azurebatch.pools.wording import problems_of

Environment = Mapping[str, str]
At = tuple[str | int, ...]

FILE = "pools.yaml"
Shape = TypeVar("Shape", bound=BaseModel)


class PoolsFileError(AzureBatchError):
    """A ``pools.yaml`` that cannot be used. The message lists every problem found."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.path and str(problem.path))))
        lines = [f"  - {problem.shown(file)}" for problem in self.problems]
        super().__init__("\n".join([f"{file} cannot be used:", *lines]))


@dataclass(frozen=True, slots=True)
class Pools:
    """What ``pools.yaml`` says. ``warnings`` are for the user, once."""

    pools: tuple[PoolDescription, ...]
    catalogue: Catalogue
    warnings: tuple[str, ...] = ()


def read_pools(file: Path, environment: Environment) -> Pools:
    """Read and check a file. ``environment`` has the secrets that it names.

    Raises PoolsFileError with everything that is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        raise PoolsFileError(str(file), [Problem(0, (), f"it cannot be read: {reason}")]) from error
    document = Document(text)
    problems = list(document.problems)
    if document.value is None and problems:
        raise PoolsFileError(str(file), problems)
    _check_shape(document, problems)
    problems += [Problem(document.line(path), path, text) for path, text in rules.complaints(document.value)]
    # What is right by itself is looked at further, so that its other faults are told in the same breath.
    made = _Maker(file, _valid(document, "vm_sizes", model.Size), document, environment)
    pools = tuple(made.pool(index, pool) for index, pool in _valid(document, "pools", model.Pool))
    problems += made.problems
    if problems:
        raise PoolsFileError(str(file), problems)
    return Pools(pools, made.catalogue, tuple(problem.shown(str(file)) for problem in made.warnings))


def _check_shape(document: Document, problems: list[Problem]) -> None:
    if document.value is None:
        problems.append(Problem(0, (), "it is empty: write pools: and at least one pool"))
    elif not isinstance(document.value, dict):
        problems.append(Problem(document.line(()), (), "it has to be a mapping: pools: [...], perhaps vm_sizes: [...]"))
    else:
        try:
            model.PoolsFile.model_validate(document.value)
        except ValidationError as error:
            problems += problems_of(error, document)


def _valid(document: Document, key: str, shape: type[Shape]) -> list[tuple[int, Shape]]:
    """The items of a list that have the right shape, with their places."""
    items = document.value.get(key) if isinstance(document.value, dict) else None
    found = []
    for index, item in enumerate(items if isinstance(items, list) else ()):
        with suppress(ValidationError):  # told by _check_shape
            found.append((index, shape.model_validate(item)))
    return found


class _Maker:
    """Makes descriptions of what was validated, and collects what only shows then."""

    def __init__(
        self, file: Path, sizes: list[tuple[int, model.Size]], document: Document, environment: Environment
    ) -> None:
        self._folder = file.parent
        self._document = document
        self._environment = environment
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.catalogue = {**bundled(), **catalogue_of(_size(size) for _, size in sizes)}

    def pool(self, index: int, pool: model.Pool) -> PoolDescription:
        at: At = ("pools", index)
        nodes = pool.nodes or model.Nodes()
        vm_size, size, others = self._machine(at, pool)
        described = PoolDescription(
            name=pool.name or pool.id or "",
            given_id=pool.id,
            vm_size=vm_size,
            size=size,
            next_sizes=others,
            dedicated=_span(nodes.dedicated, pool.scaling),
            spot=_span(nodes.spot, pool.scaling),
            rules=tuple(pool.rules),
            scaling=pool.scaling,
            task_slots=pool.task_slots,
            has_limits=pool.limits,
            task_disk_mib=round(pool.task_disk_gib * GIB) if pool.task_disk_gib else None,
            images=tuple(pool.images),
            registries=tuple(self._registry((*at, "registries", n), one) for n, one in enumerate(pool.registries)),
            identities=tuple(pool.identities),
            os_image=pool.os_image,
            node_agent_sku=pool.node_agent_sku,
            os_disk_gib=pool.os_disk_gib,
            start=self._start((*at, "start_task"), pool.start_task) if pool.start_task else None,
            subnet_id=pool.network.subnet_id if pool.network else None,
            has_public_ip=pool.network.public_ip if pool.network else True,
            mounts=tuple(self._mount((*at, "mounts", n), one) for n, one in enumerate(pool.mounts)),
            data_disks=tuple(Disk(disk.size_gib, disk.type, disk.caching) for disk in pool.data_disks),
            metadata=pool.metadata,
            tags=pool.tags,
        )
        self._check_size(at, described)
        return described

    def _complain(self, at: At, text: str) -> None:
        self.problems.append(Problem(self._document.line(at), at, text))

    def _machine(self, at: At, pool: model.Pool) -> tuple[str | None, VmSize | None, tuple[str, ...]]:
        if pool.requirements is not None:
            spot = bool(pool.nodes and _span(pool.nodes.spot, pool.scaling).max)
            fitting = sizes_for(pool.requirements, self.catalogue, needs_spot=spot)
            if not fitting:
                self._complain((*at, "requirements"), why_none(pool.requirements, self.catalogue))
                return None, None, ()
            return fitting[0].name, fitting[0], tuple(size.name for size in fitting[1:])
        size = self.catalogue.get(pool.vm_size.lower()) if pool.vm_size else None
        return (size.name if size else pool.vm_size), size, tuple(self._next_sizes((*at, "next_vm_sizes"), pool, size))

    def _next_sizes(self, at: At, pool: model.Pool, first: VmSize | None) -> Iterator[str]:
        """Tasks that were made for nodes of the first size have to fit on those of the next ones."""
        for index, name in enumerate(pool.next_vm_sizes):
            size = self.catalogue.get(name.lower())
            if size is None or first is None:
                unknown = name if size is None else pool.vm_size
                self._complain((*at, index), f"{unknown} is not in the catalogue of VM sizes: describe it in vm_sizes")
            elif not size.has_all_of(first):
                self._complain(
                    (*at, index),
                    f"{name} has less than {first.name}: cores, memory, temporary disk and GPUs have to be at least "
                    "those of vm_size",
                )
            else:
                yield size.name

    def _check_size(self, at: At, pool: PoolDescription) -> None:
        where = (*at, "vm_size")
        if pool.vm_size and pool.size is None:
            text = (
                f"{pool.vm_size} is not in the catalogue of VM sizes: its cores, memory, disk, GPUs and price are not "
                "known. Tasks take slots by their threads alone, rules that ask for memory, disk or GPUs come here "
                "only with azurebatch_pool or azurebatch_vm_size, and the plan has no price. Describe it below vm_sizes"
            )
            if not pool.task_slots and pool.given_id is None:
                self._complain(where, f"{text}, or give the pool task_slots: the cores are not known")
            else:
                self.warnings.append(Problem(self._document.line(where), where, text))
        if pool.size and pool.spot.max and not pool.size.can_be_spot:
            self._complain((*at, "nodes", "spot"), f"there are no spot nodes of size {pool.size.name}: leave spot out")
        if pool.size and pool.task_slots and pool.task_slots > 4 * pool.size.cores:
            self._complain(
                (*at, "task_slots"),
                f"{pool.task_slots} is not allowed with {pool.size.name}: it has {pool.size.cores} cores, and Azure "
                f"Batch takes 1 to {min(4 * pool.size.cores, 256)} (four for each core, 256 at most)",
            )

    def _secret(self, at: At, variable: str | None) -> str | None:
        if variable is None:
            return None
        value = self._environment.get(variable, "").strip().strip("'\"")
        if not value:
            # The name is not repeated: somebody may have written the secret itself.
            self._complain(at, "the environment variable that is named here is not set: export it before the run")
        return value

    def _registry(self, at: At, registry: model.Registry) -> RegistryAccess:
        return RegistryAccess(
            server=registry.server,
            username=registry.username,
            identity=registry.identity,
            is_anonymous=registry.anonymous,
            password=self._secret((*at, "password_env"), registry.password_env),
        )

    def _mount(self, at: At, mount: model.Mount) -> MountPoint:
        return MountPoint(
            **mount.model_dump(exclude={"key_env", "sas_env"}),
            key=self._secret((*at, "key_env"), mount.key_env),
            sas=self._secret((*at, "sas_env"), mount.sas_env),
        )

    def _start(self, at: At, start: model.StartTask) -> StartScript:
        script = self._content((*at, "script"), start.script)
        files: dict[str, bytes] = {}
        for index, name in enumerate(start.files):
            base = Path(name).name
            if base in files or base == SCRIPT:
                self._complain((*at, "files", index), f"a file named {base!r} is there already: names have to differ")
            files[base] = self._content((*at, "files", index), name)
        packed = pack(script, files)
        if len(packed) > MOST_PACKED:
            self._complain(
                at,
                f"script and files have {len(packed)} bytes when packed, and {MOST_PACKED} are allowed: let the script "
                "download what is large",
            )
        return StartScript(packed, start.elevated, start.retries, start.environment)

    def _content(self, at: At, name: str) -> bytes:
        path = self._folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            self._complain(at, f"{name!r} cannot be read ({error.strerror}): give the path of a file, from {FILE} on")
            return b""


def _span(nodes: int | model.Range, scaling: str | None) -> Span:
    """A number alone is the most of a leased pool, and just so many of a fixed one."""
    if isinstance(nodes, int):
        return Span(nodes if scaling == FIXED else 0, nodes)
    return Span(nodes.min, nodes.max, nodes.standing)


def _size(size: model.Size) -> VmSize:
    return VmSize(
        name=size.name,
        cores=size.cores,
        memory_mib=round(size.memory_gib * GIB),
        temporary_disk_mib=round(size.temporary_disk_gib * GIB),
        nvme_mib=round(size.nvme_gib * GIB),
        gpus=size.gpus,
        gpu_model=size.gpu_model or "",
        architecture=size.architecture,
        can_be_spot=size.spot,
        price=size.price,
    )
