"""In what a pool that is there differs from what is written about it (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.pools.description import PoolDescription, Span

if TYPE_CHECKING:
    from azure.batch import models


def differences(wanted: PoolDescription, found: models.BatchPool) -> list[str]:
    """One sentence for each difference. What is not written is not compared; secrets are never there to compare."""
    machine = found.virtual_machine_configuration
    return [*_size(wanted, found), *_nodes(wanted, found), *_machine(wanted, machine), *_around(wanted, found)]


def _differs(name: str, wanted: object, found: object) -> Iterator[str]:
    """Written and different. Names of Azure are compared without case."""
    if wanted is not None and str(wanted).lower() != str(found if found is not None else "").lower():
        yield f"{name}: {wanted} is written, the pool has {found if found not in (None, '') else 'none'}"


def _lacks(name: str, wanted: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    there = {item.lower() for item in found}
    for item in wanted:
        if item.lower() not in there:
            yield f"{name}: {item} is written, the pool does not have it"


def _size(wanted: PoolDescription, found: models.BatchPool) -> Iterator[str]:
    yield from _differs("vm_size", wanted.vm_size, found.vm_size)
    yield from _differs("task_slots", wanted.task_slots, found.task_slots_per_node or 1)


def _nodes(wanted: PoolDescription, found: models.BatchPool) -> Iterator[str]:
    if found.enable_auto_scale:  # then the targets are those of the moment
        return
    spans = (
        ("dedicated", wanted.dedicated, found.target_dedicated_nodes or 0),
        ("spot", wanted.spot, found.target_low_priority_nodes or 0),
    )
    if not wanted.dedicated.max + wanted.spot.max:  # not written
        return
    for kind, span, count in spans:
        if not span.min <= count <= span.max:
            yield f"nodes.{kind}: {_shown(span)} is written, the pool has {count}"


def _shown(span: Span) -> str:
    return str(span.max) if span.min == span.max else f"{span.min} to {span.max}"


def _machine(wanted: PoolDescription, found: models.VirtualMachineConfiguration | None) -> Iterator[str]:
    image = found.image_reference if found else None
    if wanted.os_image is not None:
        has_version = wanted.os_image.count(":") == 3
        parts = [image.publisher, image.offer, image.sku, *([image.version] if has_version else [])] if image else []
        yield from _differs("os_image", wanted.os_image, ":".join(part or "" for part in parts))
    yield from _differs("node_agent_sku", wanted.node_agent_sku, found.node_agent_sku_id if found else None)
    os_disk = found.os_disk if found else None
    yield from _differs("os_disk_gib", wanted.os_disk_gib, os_disk.disk_size_gb if os_disk else None)
    containers = found.container_configuration if found else None
    yield from _lacks("images", wanted.images, (containers.container_image_names or ()) if containers else ())
    registries = (containers.container_registries or ()) if containers else ()
    servers = [registry.registry_server or "" for registry in registries]
    yield from _lacks(
        "registries", [registry.server for registry in wanted.registries if not registry.is_anonymous], servers
    )
    sizes = [disk.disk_size_gb for disk in (found.data_disks or ())] if found else []
    if wanted.data_disks and sizes != [disk.size_gib for disk in wanted.data_disks]:
        written = ", ".join(str(disk.size_gib) for disk in wanted.data_disks)
        yield f"data_disks: {written} GiB are written, the pool has {', '.join(map(str, sizes)) or 'none'}"


def _around(wanted: PoolDescription, found: models.BatchPool) -> Iterator[str]:
    network = found.network_configuration
    yield from _differs("network.subnet_id", wanted.subnet_id, network.subnet_id if network else None)
    addresses = network.public_ip_address_configuration if network else None
    has_none = addresses is not None and _word(addresses.ip_address_provisioning_type) == "nopublicipaddresses"
    if not wanted.has_public_ip and not has_none:
        yield "network.public_ip: false is written, the pool's nodes have public addresses"
    identities = (found.identity.user_assigned_identities or ()) if found.identity else ()
    yield from _lacks("identities", wanted.identities, [identity.resource_id for identity in identities])
    yield from _lacks("mounts", [mount.path for mount in wanted.mounts], _mount_paths(found))
    if wanted.start is not None:
        settings = (found.start_task.environment_settings or ()) if found.start_task else ()
        if wanted.start.packed not in [setting.value for setting in settings]:
            yield f"start_task: a script is written, the pool has {'another' if found.start_task else 'none'}"
    there = {item.name: item.value for item in found.metadata or ()}
    for name, value in wanted.metadata.items():
        yield from _differs(f"metadata.{name}", value, there.get(name))


def _mount_paths(found: models.BatchPool) -> Iterator[str]:
    for mount in found.mount_configuration or ():
        kinds = (
            mount.azure_blob_file_system_configuration,
            mount.azure_file_share_configuration,
            mount.nfs_mount_configuration,
            mount.cifs_mount_configuration,
        )
        yield from (kind.relative_mount_path for kind in kinds if kind is not None)


def _word(value: Any) -> str:  # noqa: ANN401 (an enum of the SDK, or a text that it does not know)
    return str(getattr(value, "value", value) or "").lower()
