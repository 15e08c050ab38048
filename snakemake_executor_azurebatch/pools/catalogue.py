"""What VM sizes have: cores, memory, disks, GPUs, a relative price (pure, but for reading the bundled table).

The table (``data/vm_sizes.csv``) holds the families D, E, F, L, M, NC, ND and NV that Azure Batch offers for Linux.
Prices are relative to ``Standard_D4s_v5`` and rough: of Linux VMs, not checked against a price list, and
are there to compare sizes, not to foresee a bill. ``pools.yaml`` can correct and add sizes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: What a spot node costs, as a part of a dedicated one. It varies by the hour, the size and the region.
SPOT_PRICE = 0.3


@dataclass(frozen=True, slots=True)
class VmSize:
    """One size. Memory and disks are what the size has, not what is left for tasks."""

    name: str
    cores: int
    memory_mib: int
    temporary_disk_mib: int = 0  #: formatted by Azure; where Azure Batch then has its folders. 0: none
    nvme_mib: int = 0  #: further local disks, raw: of use only where a start task formats them
    gpus: float = 0  #: below 1: a share of one
    gpu_model: str = ""
    architecture: str = "x64"
    can_be_spot: bool = True
    price: float = 0.0  #: per hour, Standard_D4s_v5 = 1; 0: not known

    @property
    def family(self) -> str:
        """The letters behind ``Standard_`` up to the first digit, in capitals: D, E, NC, ..."""
        letters = []
        for letter in self.name.partition("_")[2].upper():
            if not letter.isalpha():
                break
            letters.append(letter)
        return "".join(letters)

    def has_all_of(self, other: VmSize) -> bool:
        """Whether tasks that were made for nodes of the other size fit as well on these."""
        return (
            self.cores >= other.cores
            and self.memory_mib >= other.memory_mib
            and self.temporary_disk_mib >= other.temporary_disk_mib
            and self.gpus >= other.gpus
            and self.gpu_model == other.gpu_model
            and self.architecture == other.architecture
        )


Catalogue = Mapping[str, VmSize]  #: by name in lower case: Azure compares names of sizes without case


def catalogue_of(sizes: Iterable[VmSize]) -> Catalogue:
    """A catalogue; of two sizes with one name, the later counts."""
    return {size.name.lower(): size for size in sizes}


@cache
def bundled() -> Catalogue:
    """The table that comes with this plugin."""
    table = files("snakemake_executor_azurebatch.pools").joinpath("data", "vm_sizes.csv")
    return catalogue_of(_size(row) for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def spelled(vm_size: str) -> str:
    """The name as the table has it: the service may answer in small letters. One that is not there stays."""
    known = bundled().get(vm_size.lower())
    return known.name if known is not None else vm_size


def _size(row: Mapping[str, str]) -> VmSize:
    return VmSize(
        name=row["name"],
        cores=int(row["cores"]),
        memory_mib=int(row["memory_mib"]),
        temporary_disk_mib=int(row["temporary_disk_mib"]),
        nvme_mib=int(row["nvme_mib"]),
        gpus=float(row["gpus"]),
        gpu_model=row["gpu_model"],
        architecture=row["architecture"],
        can_be_spot=row["spot"] == "yes",
        price=float(row["price"]),
    )
