"""What a pool is asked to be (pure). Its id ends in the hash of that, so that equal wishes find the same pool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.naming import batch_id
from snakemake_executor_azurebatch.options import PoolOptions
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.formula import Bounds
from snakemake_executor_azurebatch.pools.scaling import Fixed, Leased

if TYPE_CHECKING:
    from azure.batch import models


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """One pool: what the user set, and the container images that its nodes fetch beforehand."""

    options: PoolOptions
    image: str
    #: Of the rules. They do not make another pool of it: one that lacks them fetches them for the first task.
    rule_images: tuple[str, ...] = ()

    @property
    def pool_id(self) -> str:
        """The user's name for it, or a readable one that ends in a hash of the spec. Secrets are not hashed."""
        options = self.options
        wishes: dict[str, Any] = {
            name: getattr(options, name)
            for name in options.__slots__
            if name not in ("pool_id", "delete", "registry_password")
        }
        wishes["image"] = self.image
        return options.pool_id or batch_id(f"smk-{options.vm_size}", json.dumps(wishes, sort_keys=True))


def bounds_of(options: PoolOptions) -> Bounds:
    """What a leased pool may have."""
    return Bounds(Span(max=options.dedicated_nodes), Span(max=options.spot_nodes), options.task_slots_per_node)


def create_options(spec: PoolSpec, size: Fixed | Leased, metadata: dict[str, str]) -> models.BatchPoolCreateOptions:
    """The pool as the service is asked for it."""
    from azure.batch import models

    options = spec.options
    publisher, offer, sku = options.os_image
    machine = models.VirtualMachineConfiguration(
        image_reference=models.BatchVmImageReference(publisher=publisher, offer=offer, sku=sku, version="latest"),
        node_agent_sku_id=options.node_agent_sku,
        container_configuration=models.BatchContainerConfiguration(
            type=models.ContainerType.DOCKER_COMPATIBLE,
            container_image_names=list(dict.fromkeys((spec.image, *spec.rule_images))),
            container_registries=_registries(options),
        ),
    )
    return models.BatchPoolCreateOptions(
        id=spec.pool_id,
        vm_size=options.vm_size,
        virtual_machine_configuration=machine,
        **size.members(),
        task_slots_per_node=options.task_slots_per_node,
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(node_fill_type=models.BatchNodeFillType.PACK),
        network_configuration=(models.NetworkConfiguration(subnet_id=options.subnet_id) if options.subnet_id else None),
        metadata=[models.BatchMetadataItem(name=name, value=value) for name, value in metadata.items()],
    )


def _registries(options: PoolOptions) -> list[models.ContainerRegistryReference] | None:
    from azure.batch import models

    if options.registry_server is None:
        return None
    return [
        models.ContainerRegistryReference(
            registry_server=options.registry_server,
            username=options.registry_username,
            password=options.registry_password,
        )
    ]
