"""A pool as it is asked for, with everything decided that can be without the service (plain values)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from snakemake_executor_azurebatch.naming import batch_id
from snakemake_executor_azurebatch.options import FIXED, LEASE
from snakemake_executor_azurebatch.pools.catalogue import Catalogue, VmSize


@dataclass(frozen=True, slots=True)
class Span:
    """Fewest nodes while a run is there, most nodes, and those that stay when no run is there."""

    min: int = 0
    max: int = 0
    standing: int = 0


NO_NODES = Span()


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """A container registry to sign in to: with a password or with an identity of the pool."""

    server: str
    username: str | None = None
    identity: str | None = None
    password: str | None = field(default=None, repr=False)
    is_anonymous: bool = False  #: nobody has to sign in


@dataclass(frozen=True, slots=True)
class StartScript:
    """What each node runs before its first task. ``packed``: script and files, as ``packing`` makes it."""

    packed: str = field(repr=False)
    is_elevated: bool = True
    retries: int = 2
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A file system that nodes mount."""

    type: str  #: blob, files, nfs
    path: str
    account: str | None = None
    container: str | None = None
    url: str | None = None
    source: str | None = None
    options: str | None = None
    key: str | None = field(default=None, repr=False)
    sas: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Disk:
    """A further disk of a node."""

    size_gib: int
    type: str = "standard_lrs"
    caching: str = "none"


@dataclass(frozen=True, slots=True)
class PoolDescription:
    """One pool of ``pools.yaml``."""

    name: str  #: what rules and messages call it: its name, or its id
    given_id: str | None = None  #: of a pool of the user's
    vm_size: str | None = None  #: None: known to the service only
    size: VmSize | None = None  #: None: not in the catalogue
    next_sizes: tuple[str, ...] = ()  #: what else meets the requirements, the cheapest first
    dedicated: Span = NO_NODES
    spot: Span = NO_NODES
    rules: tuple[str, ...] = ()  #: patterns of the names of rules that it is for; empty: for those no pool names
    scaling: str | None = None  #: lease or fixed; None: not written
    task_slots: int | None = None
    has_limits: bool = True  #: containers get no more than their rule asks for
    task_disk_mib: int | None = None
    images: tuple[str, ...] = ()
    registries: tuple[RegistryAccess, ...] = ()
    identities: tuple[str, ...] = ()
    os_image: str | None = None
    node_agent_sku: str | None = None
    os_disk_gib: int | None = None
    start: StartScript | None = None
    subnet_id: str | None = None
    has_public_ip: bool = True
    mounts: tuple[MountPoint, ...] = ()
    data_disks: tuple[Disk, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def slots(self) -> int | None:
        """Tasks that a node runs at once: as set, else its cores; None where neither is known.

        A node takes 256 at most (source: Azure Batch documentation, "taskSlotsPerNode").
        """
        return self.task_slots or (min(self.size.cores, 256) if self.size else None)

    @property
    def pool_id(self) -> str:
        """The user's id for it, or the name and a hash of what is asked for: equal wishes find the same pool.

        Secrets are not hashed, nor what the catalogue says about the size.
        """
        if self.given_id is not None:
            return self.given_id
        return batch_id(f"smk-{self.name}", json.dumps(self._wishes(), sort_keys=True))

    def next(self, catalogue: Catalogue) -> PoolDescription | None:
        """The same pool of the next VM size that has all that this one's nodes have, with as many slots; None: none."""
        for number, name in enumerate(self.next_sizes, start=1):
            size = catalogue.get(name.lower())
            if size is not None and (self.size is None or size.has_all_of(self.size)):
                rest = self.next_sizes[number:]
                return replace(self, vm_size=size.name, size=size, next_sizes=rest, task_slots=self.slots)
        return None

    @property
    def is_leased(self) -> bool:
        """Whether runs lease this pool where they make it."""
        return self.scaling != FIXED

    def _wishes(self) -> dict[str, Any]:
        wishes = asdict(self)
        for name in ("given_id", "size", "next_sizes", "name", "rules", "task_disk_mib", "has_limits"):
            del wishes[name]
        for registry in wishes["registries"]:
            del registry["password"]
        for mount in wishes["mounts"]:
            del mount["key"], mount["sas"]
        return wishes | {"task_slots": self.slots, "scaling": LEASE if self.is_leased else FIXED}
