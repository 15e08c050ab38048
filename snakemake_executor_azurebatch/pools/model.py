"""The shape of ``pools.yaml``: what keys there are and what each may hold.

Rules that look at several keys at once are in ``rules``; they are checked even where a key has a wrong value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: What texts may look like, and the same in words: pattern -> words.
POOL_ID = r"^[A-Za-z0-9_-]{1,64}$"
POOL_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
VM_SIZE = r"^[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9-]+)+$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$"
IDENTITY = (
    r"^/subscriptions/[^/]+/resource[Gg]roups/[^/]+/providers/Microsoft\.ManagedIdentity"
    r"/userAssignedIdentities/[^/]+$"
)
SUBNET = (
    r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.(Network|ClassicNetwork)"
    r"/virtualNetworks/[^/]+/subnets/[^/]+$"
)
OS_IMAGE = r"^[^:\s]+:[^:\s]+:[^:\s]+(:[^:\s]+)?$"
NODE_AGENT = r"^batch\.node\.\S+( \S+)*$"
ACCOUNT = r"^[a-z0-9]{3,24}$"
CONTAINER = r"^[a-z0-9]+(-[a-z0-9]+)*$"
FOLDER = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"
SHARE_URL = r"^https://[^/\s?]+/[^/\s?]+/?$"
NFS_SOURCE = r"^[^:\s]+:?/\S*$"
NOT_EMPTY = r"\S"
FAMILY = r"^[A-Z]{1,3}$"
RULES = r"^[A-Za-z0-9_*?\[\]!-]+$"

WORDS = {
    POOL_ID: "1 to 64 letters, digits, '-' and '_'",
    POOL_NAME: "1 to 40 letters, digits, '-' and '_', a letter first",
    VM_SIZE: "a VM size such as Standard_D4s_v5",
    VARIABLE: "the name of an environment variable: letters, digits and '_', no digit first",
    HOST: "a host such as myregistry.azurecr.io, without https:// and without a path",
    IDENTITY: (
        "the resource id of a user-assigned identity: /subscriptions/.../resourceGroups/.../providers/"
        "Microsoft.ManagedIdentity/userAssignedIdentities/NAME"
    ),
    SUBNET: (
        "the resource id of a subnet: /subscriptions/.../resourceGroups/.../providers/"
        "Microsoft.Network/virtualNetworks/NAME/subnets/NAME"
    ),
    OS_IMAGE: "publisher:offer:sku, or publisher:offer:sku:version",
    NODE_AGENT: "a node agent SKU such as 'batch.node.ubuntu 22.04'",
    ACCOUNT: "the name of a storage account: 3 to 24 lower-case letters and digits",
    CONTAINER: "the name of a blob container: lower-case letters, digits and single dashes",
    FOLDER: "a relative path of letters, digits, '.', '_', '-' and '/'",
    SHARE_URL: "the URL of a file share: https://ACCOUNT.file.core.windows.net/SHARE",
    NFS_SOURCE: "server:/path",
    NOT_EMPTY: "a text that is not empty",
    FAMILY: "the letters of a VM family in capitals, such as D, E or NC",
    RULES: "the name of a rule, or a pattern of names with '*', '?' and '[...]', such as call_*",
}

MOST_NODES = 10_000

Count = Annotated[int, Field(ge=0, le=MOST_NODES)]
Text = Annotated[str, Field(pattern=NOT_EMPTY)]
Variable = Annotated[str, Field(pattern=VARIABLE)]


class _Shape(BaseModel):
    """Nothing that is not named here, and no guessing: ``"4"`` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Range(_Shape):
    """Fewest and most nodes."""

    min: Count = Field(default=0, description="Fewest nodes while a run is there.")
    max: Count = Field(description="Most nodes.")
    standing: Count = Field(
        default=0, description="Nodes that stay when no run is there (scaling: lease). They cost money all the time."
    )


class Nodes(_Shape):
    """Nodes of a pool: a number, or fewest and most."""

    dedicated: Count | Range = Field(default=0, description="Dedicated nodes: the most, or min, max and standing.")
    spot: Count | Range = Field(
        default=0,
        description="Spot nodes, which cost less and can be taken away: the most, or min, max and standing.",
    )


class Requirements(_Shape):
    """What a node has to have. The cheapest VM size that has it all is taken."""

    cores: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Cores, at least.")
    memory_gib: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="Memory in GiB, at least."
    )
    disk_gib: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="Temporary disk in GiB, at least."
    )
    nvme_gib: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="Raw local NVMe disks in GiB, at least. A start task has to format them."
    )
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(default=0, description="GPUs, at least.")
    gpu_model: Text | None = Field(default=None, description="Model of the GPUs, such as T4, A100 or H100.")
    families: list[Annotated[str, Field(pattern=FAMILY)]] | None = Field(
        default=None, description="Only these families, such as [D, E]."
    )
    architecture: Literal["x64", "arm64"] = Field(default="x64", description="Architecture of the processor.")
    max_price: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="Highest price of a dedicated node, relative to Standard_D4s_v5 (1.0)."
    )


class Registry(_Shape):
    """A container registry to sign in to: with a password, or with an identity of the pool."""

    server: Annotated[str, Field(pattern=HOST)] = Field(description="Host of the registry.")
    username: Text | None = Field(default=None, description="User name, for sign-in with a password.")
    password_env: Variable | None = Field(default=None, description="Environment variable that holds the password.")
    identity: Annotated[str, Field(pattern=IDENTITY)] | None = Field(
        default=None, description="Resource id of a managed identity of the pool that may pull."
    )
    anonymous: bool = Field(default=False, description="Nobody has to sign in there.")


class StartTask(_Shape):
    """What each node runs before its first task."""

    script: Text = Field(description="Path of a bash script, relative to this file.")
    files: list[Text] = Field(default=[], description="Files beside the script, relative to this file.")
    elevated: bool = Field(default=True, description="Run as root.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(default=2, description="Further tries after a failure.")
    environment: dict[Annotated[str, Field(pattern=VARIABLE)], str] = Field(
        default={}, description="Environment variables. No secrets: they can be read from the pool."
    )


class Network(_Shape):
    """The network of the nodes."""

    subnet_id: Annotated[str, Field(pattern=SUBNET)] | None = Field(
        default=None, description="Resource id of the subnet that the nodes join."
    )
    public_ip: bool = Field(default=True, description="Whether nodes have public IP addresses.")


class Mount(_Shape):
    """A file system that every node mounts below $AZ_BATCH_NODE_MOUNTS_DIR."""

    type: Literal["blob", "files", "nfs"] = Field(description="Blob container, Azure Files share or NFS share.")
    path: Annotated[str, Field(pattern=FOLDER)] = Field(description="Folder below $AZ_BATCH_NODE_MOUNTS_DIR.")
    account: Annotated[str, Field(pattern=ACCOUNT)] | None = Field(
        default=None, description="Storage account (blob, files)."
    )
    container: Annotated[str, Field(pattern=CONTAINER, min_length=3, max_length=63)] | None = Field(
        default=None, description="Blob container (blob)."
    )
    url: Annotated[str, Field(pattern=SHARE_URL)] | None = Field(default=None, description="URL of the share (files).")
    source: Annotated[str, Field(pattern=NFS_SOURCE)] | None = Field(default=None, description="Server and path (nfs).")
    key_env: Variable | None = Field(
        default=None, description="Environment variable with the account key (blob, files)."
    )
    sas_env: Variable | None = Field(default=None, description="Environment variable with a SAS token (blob).")
    options: Text | None = Field(default=None, description="Options of the mount program.")


class DataDisk(_Shape):
    """A managed disk that every node gets, empty and raw: a start task has to format it."""

    size_gib: Annotated[int, Field(ge=1, le=32_767)] = Field(description="Size in GiB.")
    type: Literal["standard_lrs", "standardssd_lrs", "premium_lrs"] = Field(
        default="standard_lrs", description="Kind of storage."
    )
    caching: Literal["none", "readonly", "readwrite"] = Field(default="none", description="Caching of the host.")


class Pool(_Shape):
    """One pool: with ``name``, made by this plugin as described; with ``id``, yours."""

    name: Annotated[str, Field(pattern=POOL_NAME)] | None = Field(
        default=None,
        description="Name of a pool that this plugin makes. Its id is the name and a hash of what is asked for.",
    )
    id: Annotated[str, Field(pattern=POOL_ID)] | None = Field(
        default=None,
        description="Id of a pool of yours. Used as it is; differences from what is written here are told.",
    )
    vm_size: Annotated[str, Field(pattern=VM_SIZE)] | None = Field(default=None, description="VM size of the nodes.")
    next_vm_sizes: Annotated[list[Annotated[str, Field(pattern=VM_SIZE)]], Field(max_length=20)] = Field(
        default=[], description="VM sizes to go to, one after the other, where Azure has no nodes of the one before."
    )
    requirements: Requirements | None = Field(default=None, description="In place of vm_size: what a node has to have.")
    nodes: Nodes | None = Field(default=None, description="How many nodes.")
    rules: Annotated[list[Annotated[str, Field(pattern=RULES)]], Field(min_length=1, max_length=100)] = Field(
        default=[],
        description="Rules whose jobs go to this pool, and no others: names, or patterns such as call_*. "
        "Default: all rules that no pool names.",
    )
    scaling: Literal["lease", "fixed"] | None = Field(
        default=None,
        description="lease: nodes as jobs need them, none when no run is there. fixed: nodes stay until the pool is "
        "resized or deleted. Default: lease; a pool with id that is there already keeps what it has.",
    )
    task_slots: Annotated[int, Field(ge=1, le=256)] | None = Field(
        default=None, description="Tasks that a node runs at once. Default: its cores."
    )
    limits: bool = Field(
        default=True, description="Whether containers get no more cores and memory than their rule asks for."
    )
    task_disk_gib: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="Disk of a node that tasks may use. Default: by the temporary disk of the VM size."
    )
    images: list[Text] = Field(default=[], description="Container images that nodes fetch before their first task.")
    registries: list[Registry] = Field(default=[], description="Container registries to sign in to.")
    identities: list[Annotated[str, Field(pattern=IDENTITY)]] = Field(
        default=[],
        description="Managed identities of the pool, by their resource ids. It is made through Azure Resource Manager "
        "then, which needs the extra identity; one that is there already has to have them.",
    )
    os_image: Annotated[str, Field(pattern=OS_IMAGE)] | None = Field(
        default=None, description="Marketplace image. Default: the newest verified Ubuntu image that runs containers."
    )
    node_agent_sku: Annotated[str, Field(pattern=NODE_AGENT)] | None = Field(
        default=None, description="Node agent SKU that goes with os_image. Default: as the service says."
    )
    os_disk_gib: Annotated[int, Field(ge=30, le=4095)] | None = Field(
        default=None, description="Size of the OS disk in GiB."
    )
    start_task: StartTask | None = Field(default=None, description="What each node runs before its first task.")
    network: Network | None = Field(default=None, description="The network of the nodes.")
    mounts: Annotated[list[Mount], Field(max_length=10)] = Field(
        default=[], description="File systems that nodes mount."
    )
    data_disks: Annotated[list[DataDisk], Field(max_length=32)] = Field(default=[], description="Further disks.")
    metadata: dict[Text, str] = Field(default={}, description="Names and values that are kept with the pool.")
    tags: dict[Text, str] = Field(
        default={},
        description="Tags of the pool in Azure. It is made through Azure Resource Manager then, as with identities.",
    )


class Size(_Shape):
    """A VM size that the catalogue does not know, or knows wrongly."""

    name: Annotated[str, Field(pattern=VM_SIZE)] = Field(description="Name of the size.")
    cores: Annotated[int, Field(ge=1, le=1000)] = Field(description="Cores.")
    memory_gib: Annotated[float, Field(gt=0, le=100_000)] = Field(description="Memory in GiB.")
    temporary_disk_gib: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Temporary disk in GiB."
    )
    nvme_gib: Annotated[float, Field(ge=0, le=1_000_000)] = Field(default=0, description="Raw local NVMe disks in GiB.")
    gpus: Annotated[float, Field(ge=0, le=64)] = Field(default=0, description="GPUs; below 1 for a share of one.")
    gpu_model: Text | None = Field(default=None, description="Model of the GPUs.")
    architecture: Literal["x64", "arm64"] = Field(default="x64", description="Architecture of the processor.")
    spot: bool = Field(default=True, description="Whether there are spot nodes of this size.")
    price: Annotated[float, Field(ge=0, le=100_000)] = Field(
        default=0, description="Price of a dedicated node, relative to Standard_D4s_v5 (1.0). 0: not known."
    )


class PoolsFile(_Shape):
    """``pools.yaml``."""

    pools: Annotated[list[Pool], Field(min_length=1, max_length=100)] = Field(description="The pools.")
    vm_sizes: list[Size] = Field(default=[], description="VM sizes that the catalogue does not know, or knows wrongly.")
