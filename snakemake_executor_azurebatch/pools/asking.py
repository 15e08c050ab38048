"""A described pool as Azure Batch is asked for it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.pools.description import MountPoint, PoolDescription, RegistryAccess, StartScript
from snakemake_executor_azurebatch.pools.os_image import ChosenImage
from snakemake_executor_azurebatch.pools.packing import COMMAND_LINE, VARIABLE
from snakemake_executor_azurebatch.pools.scaling import Fixed, Leased

if TYPE_CHECKING:
    from azure.batch import models


def create_options(
    pool: PoolDescription,
    os_image: ChosenImage,
    run_images: Sequence[str],
    size: Fixed | Leased,
    metadata: Mapping[str, str],
) -> models.BatchPoolCreateOptions:
    """The request. ``run_images``: what this run's jobs run in; ``size``: how many nodes it gets, or what says so."""
    from azure.batch import models

    return models.BatchPoolCreateOptions(
        id=pool.pool_id,
        vm_size=pool.vm_size or "",
        virtual_machine_configuration=_machine(pool, os_image, run_images),
        **size.members(),
        task_slots_per_node=pool.slots or 1,
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(node_fill_type=models.BatchNodeFillType.PACK),
        network_configuration=_network(pool),
        start_task=_start_task(pool.start) if pool.start else None,
        mount_configuration=[_mount(mount) for mount in pool.mounts] or None,
        metadata=[
            models.BatchMetadataItem(name=name, value=value) for name, value in {**pool.metadata, **metadata}.items()
        ],
    )


def _machine(
    pool: PoolDescription, os_image: ChosenImage, run_images: Sequence[str]
) -> models.VirtualMachineConfiguration:
    from azure.batch import models

    return models.VirtualMachineConfiguration(
        image_reference=models.BatchVmImageReference(
            publisher=os_image.publisher, offer=os_image.offer, sku=os_image.sku, version=os_image.version
        ),
        node_agent_sku_id=os_image.node_agent_sku,
        os_disk=models.BatchOsDisk(disk_size_gb=pool.os_disk_gib) if pool.os_disk_gib else None,
        data_disks=list(_disks(pool)) or None,
        container_configuration=models.BatchContainerConfiguration(
            type=models.ContainerType.DOCKER_COMPATIBLE,
            container_image_names=list(dict.fromkeys((*run_images, *pool.images))),
            container_registries=[_registry(one) for one in pool.registries if not one.is_anonymous] or None,
        ),
    )


def _disks(pool: PoolDescription) -> Iterator[models.DataDisk]:
    from azure.batch import models

    for number, disk in enumerate(pool.data_disks):
        yield models.DataDisk(
            logical_unit_number=number,
            disk_size_gb=disk.size_gib,
            caching=disk.caching,
            managed_disk=models.ManagedDisk(storage_account_type=disk.type),
        )


def _registry(registry: RegistryAccess) -> models.ContainerRegistryReference:
    from azure.batch import models

    if registry.identity is not None:
        return models.ContainerRegistryReference(
            registry_server=registry.server,
            identity_reference=models.BatchNodeIdentityReference(resource_id=registry.identity),
        )
    return models.ContainerRegistryReference(
        registry_server=registry.server, username=registry.username, password=registry.password
    )


def _network(pool: PoolDescription) -> models.NetworkConfiguration | None:
    from azure.batch import models

    if pool.subnet_id is None:
        return None
    no_address = models.BatchPublicIpAddressConfiguration(
        ip_address_provisioning_type=models.IpAddressProvisioningType.NO_PUBLIC_IP_ADDRESSES
    )
    return models.NetworkConfiguration(
        subnet_id=pool.subnet_id, public_ip_address_configuration=None if pool.has_public_ip else no_address
    )


def _start_task(start: StartScript) -> models.BatchStartTask:
    """Nodes take no tasks before it has succeeded."""
    from azure.batch import models

    level = models.ElevationLevel.ADMIN if start.is_elevated else models.ElevationLevel.NON_ADMIN
    user = models.AutoUserSpecification(scope=models.AutoUserScope.POOL, elevation_level=level)
    return models.BatchStartTask(
        command_line=COMMAND_LINE,
        environment_settings=[
            models.EnvironmentSetting(name=name, value=value)
            for name, value in {**start.environment, VARIABLE: start.packed}.items()
        ],
        user_identity=models.UserIdentity(auto_user=user),
        max_task_retry_count=start.retries,
        wait_for_success=True,
    )


def _mount(mount: MountPoint) -> models.MountConfiguration:
    from azure.batch import models

    if mount.type == "blob":
        return models.MountConfiguration(
            azure_blob_file_system_configuration=models.AzureBlobFileSystemConfiguration(
                account_name=mount.account or "",
                container_name=mount.container or "",
                relative_mount_path=mount.path,
                account_key=mount.key,
                sas_key=mount.sas,
                blobfuse_options=mount.options,
            )
        )
    if mount.type == "files":
        return models.MountConfiguration(
            azure_file_share_configuration=models.AzureFileShareConfiguration(
                account_name=mount.account or "",
                azure_file_url=mount.url or "",
                account_key=mount.key or "",
                relative_mount_path=mount.path,
                mount_options=mount.options,
            )
        )
    return models.MountConfiguration(
        nfs_mount_configuration=models.NfsMountConfiguration(
            source=mount.source or "", relative_mount_path=mount.path, mount_options=mount.options
        )
    )
