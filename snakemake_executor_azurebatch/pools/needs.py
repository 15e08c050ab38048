"""What a job needs of a node, read from its resources (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Resources of a rule that choose a pool.
POOL_RESOURCE = "azurebatch_pool"
VM_SIZE_RESOURCE = "azurebatch_vm_size"
SPOT_RESOURCE = "azurebatch_spot"
GPU_RESOURCE = "gpu"
GPU_MODEL_RESOURCE = "gpu_model"

#: Snakemake's mem_mb and disk_mb are powers of ten, mem_mib and disk_mib powers of two (source: Snakemake
#: documentation, standard resources).
MB_BYTES, MIB_BYTES = 1000**2, 1024**2

_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")

#: What Snakemake has in place of a resource that it does not know yet (source: snakemake 9.27.1, TBDString).
TO_BE_DETERMINED = "<TBD>"

Resources = Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Needs:
    """What one job needs. Zero and None: nothing in particular."""

    rule: str
    cores: int = 1
    memory_mib: int = 0
    disk_mib: int = 0
    gpus: int = 0
    gpu_model: str | None = None
    runtime_s: int | None = None
    image: str | None = None
    pool: str | None = None  #: asked for by name or id
    vm_size: str | None = None  #: asked for
    may_be_spot: bool = True
    members: tuple[str, ...] = ()  #: rules of a group, each once; empty: there is the one rule

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules, each once."""
        return self.members or (self.rule,)


def read_needs(
    rule: str, threads: int, resources: Resources, image: str | None = None, members: Iterable[str] = ()
) -> tuple[Needs, list[str]]:
    """What a job needs, and what is wrong with its resources: one sentence for each, naming what is allowed.

    ``members``: rules of a group.
    """
    resources = {name: value for name, value in resources.items() if str(value) != TO_BE_DETERMINED}
    problems: list[str] = []
    runtime = _amount(rule, resources, "runtime", problems)
    needs = Needs(
        rule=rule,
        cores=max(1, threads),
        memory_mib=_mib(rule, resources, "mem", problems),
        disk_mib=_mib(rule, resources, "disk", problems),
        gpus=round(_amount(rule, resources, GPU_RESOURCE, problems)),
        gpu_model=_text(resources, GPU_MODEL_RESOURCE),
        runtime_s=round(runtime * 60) or None,
        image=image,
        pool=_text(resources, POOL_RESOURCE),
        vm_size=_text(resources, VM_SIZE_RESOURCE),
        may_be_spot=_may_be_spot(rule, resources, problems),
        members=tuple(dict.fromkeys(members)),
    )
    return needs, problems


def _mib(rule: str, resources: Resources, name: str, problems: list[str]) -> int:
    if f"{name}_mib" in resources:
        return round(_amount(rule, resources, f"{name}_mib", problems))
    bytes_ = _amount(rule, resources, f"{name}_mb", problems) * MB_BYTES
    return -int(-bytes_ // MIB_BYTES)


def _amount(rule: str, resources: Resources, name: str, problems: list[str]) -> float:
    value = resources.get(name, 0)
    if isinstance(value, int | float) and value >= 0:
        return value
    problems.append(f"rule {rule}: resource {name} is {value!r}; it can be a number from 0 up.")
    return 0


def _text(resources: Resources, name: str) -> str | None:
    return str(resources[name]).strip() or None if name in resources else None


def _may_be_spot(rule: str, resources: Resources, problems: list[str]) -> bool:
    value = str(resources.get(SPOT_RESOURCE, True)).strip().lower()
    if value not in (*_TRUE, *_FALSE):
        problems.append(
            f"rule {rule}: resource {SPOT_RESOURCE} is {value!r}; it can be {', '.join((*_TRUE, *_FALSE))}."
        )
    return value not in _FALSE
