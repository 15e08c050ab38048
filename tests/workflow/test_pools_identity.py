"""Pools with managed identities and tags: made through Azure Resource Manager, then used like all others."""

import json
import os
import time
from pathlib import Path

import pytest
from azure.batch import BatchClient

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.service import StartOptions
from snakemake_executor_azurebatch.options import Account
from tests.contract.test_auth_https import web_token
from tests.workflow.conftest import Workdir
from tests.workflow.test_cli_looks import tool
from tests.workflow.test_pools import pools_of, run, tasks_of

ME = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
POOLS = f"""\
pools:
  - name: NAME
    vm_size: Standard_D2ds_v5
    nodes: {{dedicated: 1}}
    images: [mine.azurecr.io/tool:1]
    identities: [{ME}]
    registries:
      - server: mine.azurecr.io
        identity: {ME}
    tags: {{project: trees}}
"""
SNAKEFILE = 'rule all:\n    output: "told.txt"\n    shell: "echo $AZ_BATCH_POOL_ID > {output}"\n'
PUT = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.Batch/batchAccounts/{accountName}/pools/{poolId}"
)
#: As if the extra was not installed.
NO_EXTRA = """\
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "azure.mgmt" or name.startswith("azure.mgmt."):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def work(workdir) -> Workdir:
    workdir.write("Snakefile", SNAKEFILE)
    workdir.write("pools.yaml", POOLS.replace("NAME", name_of(workdir)))
    return workdir


def name_of(workdir: Workdir) -> str:
    return "i" + str(abs(hash(workdir.path)))[:10]


def batch_of(service: emulator.RunningService) -> BatchClient:
    environment = service.environment
    return clients.batch_client(
        Account(service.batch_url, environment["BATCH_ACCOUNT_NAME"], environment["BATCH_ACCOUNT_KEY"])
    )


def makings(workdir: Workdir) -> list[str]:
    """Which requests have made pools."""
    making = (("PUT", PUT), ("POST", "/pools"))
    lines = [line for line in workdir.requests() if (line["method"], line["route"]) in making]
    return [f"{line['method']} {line['status']}" for line in lines]


def check(workdir: Workdir, text: str) -> None:
    with batch_of(workdir.service) as batch:
        (pool,) = pools_of(batch, name_of(workdir)).values()
        assert workdir.read("told.txt") == f"{pool.id}\n"
        assert [one.resource_id for one in pool.identity.user_assigned_identities] == [ME]
        containers = pool.virtual_machine_configuration.container_configuration
        assert "mine.azurecr.io/tool:1" in containers.container_image_names
        assert containers.container_registries[0].identity_reference.resource_id == ME
        assert pool.enable_auto_scale, "it is leased"
        assert f"on pool {pool.id} (new): Standard_D2ds_v5, " in text
        assert tasks_of(workdir)["all"]["pool"] == pool.id


def test_on_the_local_service_nobody_has_to_sign_in(work):
    before = len(makings(work))
    check(work, run(work, "--azurebatch-pools", "pools.yaml").must_succeed().text)
    assert makings(work)[before:] == ["PUT 200"]
    work.path.joinpath("told.txt").unlink()
    run(work, "--azurebatch-pools", "pools.yaml").must_succeed()
    assert makings(work)[before:] == ["PUT 200"], "the next run finds it"


def test_signed_in_over_https(work, tmp_path):
    """With what ``az login`` has left, as on Azure; Azure Batch itself is used with the account's key."""
    answer = {"accessToken": web_token(exp=int(time.time()) + 3600), "expires_on": int(time.time()) + 3600}
    work_bin = tmp_path / "bin"
    work_bin.mkdir()
    (work_bin / "az").write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    (work_bin / "az").chmod(0o755)
    signed_in = {"PATH": f"{work_bin}:{os.environ['PATH']}", "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential"}
    with emulator.start(tmp_path / "https", lifeline=True, options=StartOptions(is_https=True)) as started:
        there = Workdir(work.path, started.service, signed_in)
        text = run(there, "--azurebatch-pools", "pools.yaml").must_succeed().text
        assert makings(there) == ["PUT 200"]
        assert work.read("told.txt").startswith(f"smk-{name_of(work)}-")
        assert "(new): Standard_D2ds_v5" in text
        (work_bin / "az").write_text("#!/bin/sh\necho 'Please run az login' >&2; exit 1\n")
        work.write("pools.yaml", work.read("pools.yaml").replace("trees", "other trees"))
        work.path.joinpath("told.txt").unlink()
        refused = run(there, "--azurebatch-pools", "pools.yaml").must_fail().text
        assert "creating pool smk-" in refused
        assert " through Azure Resource Manager: " in refused


def without(work: Workdir, name: str) -> Workdir:
    """A folder of the same things where that variable is not set."""
    return Workdir(work.path, work.service, {name: ""})


def test_what_is_missing_is_told_before_anything_is_made(work, tmp_path):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(NO_EXTRA)
    before = len(makings(work))
    hidden = {"PYTHONPATH": f"{tmp_path / 'hidden'}:{os.environ.get('PYTHONPATH', '')}"}
    poor = Workdir(work.path, work.service, {**hidden, "BATCH_ACCOUNT_RESOURCE_ID": ""})

    text = run(poor, "--azurebatch-pools", "pools.yaml").must_fail().text

    told = (
        f"pool {name_of(work)} has identities and tags, so that only Azure Resource Manager can make it, and this is "
        "missing: the Azure SDK for that, which is an extra: pip install "
        '"snakemake-executor-plugin-azurebatch[identity]"; and '
        "the resource id of the Batch account: give --azurebatch-account-resource-id (or "
        "BATCH_ACCOUNT_RESOURCE_ID), as this prints it: az batch account show --resource-group GROUP --name NAME "
        "--query id"
    )
    assert told in text
    assert not Path(work.path / "told.txt").exists()
    plan = tool(poor, "plan", "--json", "--", "--executor", "azurebatch", "--jobs", "1", "--azurebatch-pools",
                "pools.yaml", "--azurebatch-account-url", work.service.batch_url)  # fmt: skip
    assert told in json.loads(plan.stdout)["refused"][0]
    unnamed = without(work, "BATCH_ACCOUNT_RESOURCE_ID")
    assert "this is missing: the resource id of" in run(unnamed, "--azurebatch-pools", "pools.yaml").must_fail().text
    assert makings(work)[before:] == []

    run(work, "--azurebatch-pools", "pools.yaml").must_succeed()
    work.path.joinpath("told.txt").unlink()
    run(poor, "--azurebatch-pools", "pools.yaml").must_succeed()  # it is there already
    assert makings(work)[before:] == ["PUT 200"]


def test_a_resource_id_that_is_none(work):
    text = run(work, "--azurebatch-pools", "pools.yaml", "--azurebatch-account-resource-id", "mine").must_fail().text
    assert "--azurebatch-account-resource-id (or BATCH_ACCOUNT_RESOURCE_ID): 'mine' is not like /subscriptions/" in text


def test_identities_that_are_none(work):
    work.write("pools.yaml", work.read("pools.yaml").replace(ME, "me"))
    text = run(work, "--azurebatch-pools", "pools.yaml").must_fail().text
    assert "pools.yaml:6: pools[0].identities[0]: 'me' is not allowed: it has to be the resource id of a user-" in text
    assert "pools.yaml:9: pools[0].registries[0].identity: 'me' is not allowed" in text
