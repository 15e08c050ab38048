"""Runs ``snakemake`` with snakemake-executor-plugin-azure-batch 0.3.0 against the local service, in its environment.

    python peer_bridge.py ARGUMENTS OF SNAKEMAKE

The plugin signs in with azure-identity, and makes its pool through Azure's management plane; neither is there. Here the
first becomes the account's key, and the second a request for the same pool to the Batch service itself. All other calls
go as they are. BATCH_ACCOUNT_URL, BATCH_ACCOUNT_NAME and BATCH_ACCOUNT_KEY say where.
"""

import os
import sys

import azure.batch.models as bm
import snakemake_executor_plugin_azure_batch as plugin
from azure.batch import BatchServiceClient
from azure.batch.batch_auth import SharedKeyCredentials


def account_key(**_):
    """In place of azure-identity."""
    return SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])


class Management:
    """In place of the management plane: it makes a pool."""

    def __init__(self, **_):
        self.pool = self

    def create(self, resource_group_name, account_name, pool_name, parameters):
        """The same pool, by the other interface."""
        machine = parameters.deployment_configuration.virtual_machine_configuration
        image = machine.image_reference
        client = BatchServiceClient(account_key(), os.environ["BATCH_ACCOUNT_URL"])
        client.pool.add(
            bm.PoolAddParameter(
                id=pool_name,
                vm_size=parameters.vm_size,
                virtual_machine_configuration=bm.VirtualMachineConfiguration(
                    image_reference=bm.ImageReference(publisher=image.publisher, offer=image.offer, sku=image.sku),
                    node_agent_sku_id=machine.node_agent_sku_id,
                    container_configuration=bm.ContainerConfiguration(
                        type="dockerCompatible",
                        container_image_names=machine.container_configuration.container_image_names,
                    ),
                ),
                target_dedicated_nodes=parameters.scale_settings.fixed_scale.target_dedicated_nodes,
                task_slots_per_node=parameters.task_slots_per_node,
            )
        )


if __name__ == "__main__":
    plugin.AzureIdentityCredentialAdapter = account_key
    plugin.CustomAzureCredential = lambda: None
    plugin.BatchManagementClient = Management

    from snakemake.cli import main

    sys.argv = ["snakemake", *sys.argv[1:]]
    main()
