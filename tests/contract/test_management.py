"""Pools with identities: made through Azure Resource Manager, with the real SDK, and used like all others."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.mgmt.batch import BatchManagementClient, models

from snakemake_executor_azurebatch.clients import management_client
from snakemake_executor_azurebatch.emulator.service import StartOptions
from snakemake_executor_azurebatch.emulator.testing import running
from snakemake_executor_azurebatch.errors import AccessRefused, AlreadyExists, AzureBatchError, ServiceError
from snakemake_executor_azurebatch.pools.asking import create_options
from snakemake_executor_azurebatch.pools.catalogue import bundled
from snakemake_executor_azurebatch.pools.config import Pools
from snakemake_executor_azurebatch.pools.description import PoolDescription, RegistryAccess, Span
from snakemake_executor_azurebatch.pools.managed import create_pool
from snakemake_executor_azurebatch.pools.os_image import ChosenImage
from snakemake_executor_azurebatch.pools.scaling import Fixed, Leased
from snakemake_executor_azurebatch.resource_manager import AccountResource, resource_in
from snakemake_executor_azurebatch.run.pool_sources import FromFile

from .test_auth_https import Credential, web_token

ME = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
PLACE = ("group", "localbatch")
VERSION = "2025-06-01"
OS = ChosenImage("microsoft-dsvm", "ubuntu-hpc", "2204", "latest", "batch.node.ubuntu 22.04")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with running(tmp_path_factory.mktemp("https"), StartOptions(with_blobs=False, is_https=True)) as found:
        yield found


@pytest.fixture(scope="module")
def batch(local):
    with local.client() as client:
        yield client


@pytest.fixture(scope="module")
def manage(local):
    token = Credential(web_token(exp=int(time.time()) + 600))
    url, ca_file = local.service.batch_url, local.service.ca_file
    subscription = "00000000-0000-0000-0000-000000000001"
    with BatchManagementClient(token, subscription, url, connection_verify=ca_file, retry_total=0) as client:
        yield client
    assert token.scopes == ["https://management.azure.com/.default"]


def pool(**properties) -> models.Pool:
    machine = models.VirtualMachineConfiguration(
        image_reference=models.ImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
    )
    return models.Pool(
        identity=models.BatchPoolIdentity(type="UserAssigned", user_assigned_identities={ME: {}}),
        tags={"project": "trees"},
        properties=models.PoolProperties(
            vm_size="Standard_D2_v3",
            deployment_configuration=models.DeploymentConfiguration(virtual_machine_configuration=machine),
            scale_settings=models.ScaleSettings(fixed_scale=models.FixedScaleSettings(target_dedicated_nodes=1)),
            **properties,
        ),
    )


def test_a_pool_with_an_identity(manage, batch, name):
    made = manage.pool.create(*PLACE, name, pool(task_slots_per_node=2))
    assert (made.name, made.type) == (name, "Microsoft.Batch/batchAccounts/pools")
    assert made.id.endswith(f"/resourceGroups/group/providers/Microsoft.Batch/batchAccounts/localbatch/pools/{name}")
    assert (made.tags, made.properties.provisioning_state) == ({"project": "trees"}, "Succeeded")
    assert made.properties.scale_settings.fixed_scale.target_dedicated_nodes == 1
    assert made.properties.allocation_state == "Resizing"
    identity = made.identity.user_assigned_identities[ME]
    assert identity.principal_id
    assert identity.client_id != identity.principal_id

    found = batch.get_pool(name)
    (one,) = found.identity.user_assigned_identities
    assert (found.identity.type, one.resource_id, one.client_id) == ("UserAssigned", ME, identity.client_id)
    assert (found.task_slots_per_node, found.target_dedicated_nodes) == (2, 1)
    assert manage.pool.get(*PLACE, name).identity == made.identity

    manage.pool.begin_delete(*PLACE, name, polling_interval=0.05).result()
    with pytest.raises(ResourceNotFoundError):
        batch.get_pool(name)
    manage.pool.begin_delete(*PLACE, name, polling_interval=0.05).result()
    with pytest.raises(ResourceNotFoundError, match="The specified pool does not exist"):
        manage.pool.get(*PLACE, name)


def test_one_that_is_there(manage, batch, name):
    manage.pool.create(*PLACE, name, pool())
    with pytest.raises(ResourceExistsError) as refused:
        manage.pool.create(*PLACE, name, pool(), match_condition=MatchConditions.IfMissing)
    assert refused.value.status_code == 412
    with pytest.raises(HttpResponseError) as refused:
        manage.pool.create(*PLACE, name, pool())
    assert (refused.value.status_code, refused.value.error.code) == (501, "NotEmulated")
    batch.begin_delete_pool(name, polling_interval=0.05).result()


def test_what_is_refused(manage, local, name):
    with pytest.raises(ResourceNotFoundError, match="other' under resource group 'g' was not found"):
        manage.pool.create("g", "other", name, pool())
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        manage.pool.create(*PLACE, "no such id", pool())
    with pytest.raises(HttpResponseError, match="MissingRequiredProperty"):
        manage.pool.create(*PLACE, name, {"tags": {}})
    with pytest.raises(HttpResponseError, match="InvalidRequestBody") as refused:
        manage.pool.create(*PLACE, name, {"properties": {"vmSize": "a", "targetDedicatedNodes": 1}})
    assert "'targetDedicatedNodes' does not exist" in refused.value.model.error.details[0].message
    with pytest.raises(HttpResponseError, match="NotEmulated"):
        list(manage.pool.list_by_batch_account(*PLACE))
    with (
        BatchManagementClient(
            Credential(web_token()), "s", local.service.batch_url, connection_verify=local.service.ca_file,
            api_version="2019-08-01", retry_total=0,
        ) as old,
        pytest.raises(HttpResponseError, match="InvalidApiVersionParameter"),
    ):  # fmt: skip
        old.pool.get(*PLACE, name)


def test_it_takes_tokens_only(local, name):
    """As SharedKey, which Azure Batch itself takes, is no way to sign in at Azure Resource Manager."""
    account = "subscriptions/s/resourceGroups/g/providers/Microsoft.Batch/batchAccounts/localbatch"
    url = f"{local.service.batch_url}/{account}/pools/{name}?api-version={VERSION}"
    for header in ({}, {"Authorization": "SharedKey localbatch:c2lnbmF0dXJl"}):
        request = urllib.request.Request(url, headers=header)  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, context=_trusting(local.service.ca_file))  # noqa: S310
        assert refused.value.code == 401
        assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")
        assert json.load(refused.value)["error"]["code"] == "AuthenticationFailed"
    token = Credential(web_token(exp=1))
    with (
        BatchManagementClient(
            token, "s", local.service.batch_url, connection_verify=local.service.ca_file, retry_total=0
        ) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.pool.get(*PLACE, name)


def _trusting(ca_file: str):
    import ssl

    return ssl.create_default_context(cafile=ca_file)


@pytest.fixture
def signed_in(local, tmp_path, monkeypatch):
    """Somebody who has used ``az login``, and trusts the service's certificate."""
    answer = {"accessToken": web_token(exp=int(time.time()) + 3600), "expires_on": int(time.time()) + 3600}
    az = tmp_path / "az"
    az.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", local.service.ca_file)
    return az


def described(name: str, **more) -> PoolDescription:
    registry = RegistryAccess("foo.azurecr.io", identity=ME)
    return PoolDescription(
        name=name, given_id=name, vm_size="Standard_D2_v3", identities=(ME,), registries=(registry,), **more
    )


def request(pool: PoolDescription, size: Fixed | Leased):
    return create_options(pool, OS, ["foo.azurecr.io/tool:1"], size, {"created-by": "me"})


def resource_of(local) -> AccountResource:
    found = resource_in(local.environment, local.service.account)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [Fixed(1, 2), Leased("$TargetDedicatedNodes = 2;")], ids=["fixed", "leased"])
def test_as_the_plugin_makes_it(local, batch, signed_in, name, size):
    wanted = described(name, tags={"project": "trees"}, task_slots=3)
    create_pool(resource_of(local), wanted, request(wanted, size))
    found = batch.get_pool(name)
    assert [one.resource_id for one in found.identity.user_assigned_identities] == [ME]
    containers = found.virtual_machine_configuration.container_configuration
    assert containers.container_registries[0].identity_reference.resource_id == ME
    assert (found.task_slots_per_node, found.metadata[0].name) == (3, "created-by")
    assert found.task_scheduling_policy.node_fill_type == "Pack"
    if isinstance(size, Leased):
        assert (found.enable_auto_scale, found.auto_scale_formula) == (True, size.formula)
    else:
        assert (found.target_dedicated_nodes, found.target_low_priority_nodes) == (1, 2)
    with management_client(resource_of(local)) as client:
        assert client.pool.get(*PLACE, name).tags == {"project": "trees"}
    with pytest.raises(AlreadyExists):
        create_pool(resource_of(local), wanted, request(wanted, size))
    batch.begin_delete_pool(name, polling_interval=0.05).result()


def test_what_the_plugin_says_of_refusals(local, signed_in, name):
    wanted = described(name)
    nobody = replace(resource_of(local), name="nobodys")
    with pytest.raises(ServiceError) as refused:
        create_pool(nobody, wanted, request(wanted, Fixed(0, 0)))
    assert str(refused.value).startswith(
        f"creating pool {name} through Azure Resource Manager: ResourceNotFound (HTTP 404): The Resource "
        "'Microsoft.Batch/batchAccounts/nobodys' under resource group 'local' was not found."
    )
    signed_in.write_text("#!/bin/sh\necho 'Please run az login to setup account' >&2; exit 1\n")
    with pytest.raises(AccessRefused, match=f"creating pool {name} through Azure Resource Manager: "):
        create_pool(resource_of(local), wanted, request(wanted, Fixed(0, 0)))


def test_it_is_never_made_without_its_identities(batch, name):
    """As where it was there when the run began, and is gone when its first job comes."""
    wanted = described(name, dedicated=Span(0, 1), scaling="fixed")
    source = FromFile(batch, Pools((wanted,), bundled()), (), {}, print)
    with pytest.raises(AzureBatchError, match="has identities, so that only Azure Resource Manager can make it"):
        source.open(name, [1], None)
    with pytest.raises(ResourceNotFoundError):
        batch.get_pool(name)
