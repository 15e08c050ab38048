"""The VM size that meets requirements: the cheapest that has all (pure)."""

from __future__ import annotations

from collections.abc import Callable

from snakemake_executor_azurebatch.pools.catalogue import Catalogue, VmSize
from snakemake_executor_azurebatch.pools.model import Requirements

GIB = 1024  #: MiB


def sizes_for(wanted: Requirements, catalogue: Catalogue, *, needs_spot: bool = False) -> list[VmSize]:
    """All sizes that meet ``wanted``, the cheapest first; those without a known price last."""
    fitting = [size for size in catalogue.values() if not missing(wanted, size, needs_spot=needs_spot)]
    return sorted(fitting, key=lambda size: (not size.price, size.price, size.cores, size.memory_mib, size.name))


def missing(wanted: Requirements, size: VmSize, *, needs_spot: bool = False) -> list[str]:
    """Names of the requirements that ``size`` does not meet."""
    checks: dict[str, bool] = {
        "cores": size.cores >= wanted.cores,
        "memory_gib": size.memory_mib >= (wanted.memory_gib or 0) * GIB,
        "disk_gib": size.temporary_disk_mib >= (wanted.disk_gib or 0) * GIB,
        "nvme_gib": size.nvme_mib >= (wanted.nvme_gib or 0) * GIB,
        "gpus": size.gpus >= wanted.gpus,
        "gpu_model": wanted.gpu_model is None or size.gpu_model.lower() == wanted.gpu_model.lower(),
        "families": wanted.families is None or size.family in wanted.families,
        "architecture": size.architecture == wanted.architecture,
        "max_price": wanted.max_price is None or 0 < size.price <= wanted.max_price,
        "spot": size.can_be_spot or not needs_spot,
    }
    return [name for name, is_met in checks.items() if not is_met]


_AMOUNTS: dict[str, Callable[[VmSize], float]] = {
    "cores": lambda size: size.cores,
    "memory_gib": lambda size: size.memory_mib / GIB,
    "disk_gib": lambda size: size.temporary_disk_mib / GIB,
    "nvme_gib": lambda size: size.nvme_mib / GIB,
    "gpus": lambda size: size.gpus,
}


def why_none(wanted: Requirements, catalogue: Catalogue) -> str:
    """Which requirement rules out every size, with the most that there is; or that they do so together."""
    for name, amount in _AMOUNTS.items():
        if all(name in missing(wanted, size) for size in catalogue.values()):
            best = max(catalogue.values(), key=amount)
            return f"no VM size has {name} {getattr(wanted, name):g}; the most is {amount(best):g} ({best.name})"
    families = sorted({size.family for size in catalogue.values()})
    models = sorted({size.gpu_model for size in catalogue.values() if size.gpu_model})
    if wanted.families and not set(wanted.families) & set(families):
        return f"no VM size is of the families {', '.join(wanted.families)}; there are {', '.join(families)}"
    if wanted.gpu_model and wanted.gpu_model.lower() not in (model.lower() for model in models):
        return f"no VM size has a GPU of model {wanted.gpu_model}; there are {', '.join(models)}"
    asked = ", ".join(f"{name} {_shown(value)}" for name, value in wanted.model_dump(exclude_defaults=True).items())
    return f"no VM size meets all of this together: {asked}; ask for less, or add sizes to vm_sizes"


def _shown(value: object) -> str:
    return " or ".join(value) if isinstance(value, list) else str(value)
