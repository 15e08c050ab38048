"""A described pool as it is asked for, and in what a pool that is there differs from its description."""

import base64
import io
import json
import subprocess
import tarfile
from dataclasses import replace

import pytest
from azure.batch import models

from snakemake_executor_azurebatch.pools.asking import create_options
from snakemake_executor_azurebatch.pools.catalogue import bundled
from snakemake_executor_azurebatch.pools.description import (
    Disk,
    MountPoint,
    PoolDescription,
    RegistryAccess,
    Span,
    StartScript,
)
from snakemake_executor_azurebatch.pools.differences import differences
from snakemake_executor_azurebatch.pools.os_image import ChosenImage
from snakemake_executor_azurebatch.pools.packing import COMMAND_LINE, VARIABLE, pack
from snakemake_executor_azurebatch.pools.scaling import Fixed

SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/x"
OS = ChosenImage("microsoft-dsvm", "ubuntu-hpc", "2404", "latest", "batch.node.ubuntu 24.04")
FULL = PoolDescription(
    name="full",
    vm_size="Standard_D4ds_v5",
    size=bundled()["standard_d4ds_v5"],
    dedicated=Span(1, 2),
    spot=Span(0, 5),
    task_slots=3,
    images=("tool:1",),
    registries=(RegistryAccess("foo.azurecr.io", "me", password="hunter2"),),
    os_image="microsoft-dsvm:ubuntu-hpc:2404",
    node_agent_sku="batch.node.ubuntu 24.04",
    os_disk_gib=100,
    start=StartScript(pack(b"echo 1", {}), environment={"MODE": "1"}),
    subnet_id=SUBNET,
    has_public_ip=False,
    mounts=(
        MountPoint("blob", "refs", account="foodata", container="refs", key="hunter2"),
        MountPoint("files", "home", account="foodata", url="https://foodata.file.core.windows.net/home", key="hunter2"),
        MountPoint("nfs", "old", source="server:/old", options="vers=4"),
    ),
    data_disks=(Disk(512, "premium_lrs", "readonly"), Disk(64)),
    metadata={"project": "trees"},
)


def asked(pool: PoolDescription) -> dict:
    return create_options(pool, OS, ["run:1"], Fixed(1, 2), {"created-by": "me"}).as_dict()


def there(pool: PoolDescription, **changes) -> models.BatchPool:
    return models.BatchPool({**asked(pool), **changes})


def test_everything_that_is_described_is_asked_for():
    body = asked(FULL)
    assert (body["id"], body["vmSize"], body["taskSlotsPerNode"]) == (FULL.pool_id, "Standard_D4ds_v5", 3)
    assert (body["targetDedicatedNodes"], body["targetLowPriorityNodes"]) == (1, 2)
    machine = body["virtualMachineConfiguration"]
    assert machine["imageReference"] == {
        "publisher": "microsoft-dsvm",
        "offer": "ubuntu-hpc",
        "sku": "2404",
        "version": "latest",
    }
    assert machine["containerConfiguration"]["containerImageNames"] == ["run:1", "tool:1"]
    assert machine["containerConfiguration"]["containerRegistries"] == [
        {"registryServer": "foo.azurecr.io", "username": "me", "password": "hunter2"}
    ]
    assert machine["osDisk"]["diskSizeGB"] == 100
    assert [(disk["lun"], disk["diskSizeGB"]) for disk in machine["dataDisks"]] == [(0, 512), (1, 64)]
    assert body["networkConfiguration"]["publicIPAddressConfiguration"] == {"provision": "nopublicipaddresses"}
    assert len(body["mountConfiguration"]) == 3
    assert {item["name"]: item["value"] for item in body["metadata"]} == {"project": "trees", "created-by": "me"}
    start = body["startTask"]
    assert start["waitForSuccess"]
    assert start["userIdentity"]["autoUser"] == {"scope": "pool", "elevationLevel": "admin"}


def test_nothing_that_is_not_described_is_asked_for():
    body = asked(PoolDescription(name="plain", vm_size="Standard_D4s_v5", size=bundled()["standard_d4s_v5"]))
    assert body["taskSlotsPerNode"] == 4
    assert not {"startTask", "networkConfiguration", "mountConfiguration"} & body.keys()
    assert not {"osDisk", "dataDisks"} & body["virtualMachineConfiguration"].keys()


def test_secrets_are_not_shown():
    assert "hunter2" not in repr(FULL)


def test_a_pool_that_is_as_it_was_asked_for_has_no_differences():
    assert differences(FULL, there(FULL)) == []


def test_what_is_not_written_is_not_compared():
    assert differences(PoolDescription(name="mine", given_id="mine"), there(FULL)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vm_size": "Standard_D8s_v5"}, "vm_size: Standard_D8s_v5 is written, the pool has Standard_D4ds_v5"),
        ({"task_slots": 4}, "task_slots: 4 is written, the pool has 3"),
        ({"dedicated": Span(2, 3)}, "nodes.dedicated: 2 to 3 is written, the pool has 1"),
        ({"spot": Span()}, "nodes.spot: 0 is written, the pool has 2"),
        ({"os_image": "a:b:c"}, "os_image: a:b:c is written, the pool has microsoft-dsvm:ubuntu-hpc:2404"),
        ({"node_agent_sku": "x"}, "node_agent_sku: x is written, the pool has batch.node.ubuntu 24.04"),
        ({"os_disk_gib": 99}, "os_disk_gib: 99 is written, the pool has 100"),
        ({"images": ("other:2",)}, "images: other:2 is written, the pool does not have it"),
        ({"registries": (RegistryAccess("bar.io"),)}, "registries: bar.io is written, the pool does not have it"),
        ({"identities": ("/me",)}, "identities: /me is written, the pool does not have it"),
        ({"subnet_id": "/other"}, f"network.subnet_id: /other is written, the pool has {SUBNET}"),
        ({"mounts": (MountPoint("nfs", "new"),)}, "mounts: new is written, the pool does not have it"),
        ({"data_disks": (Disk(1),)}, "data_disks: 1 GiB are written, the pool has 512, 64"),
        ({"start": StartScript(pack(b"echo 2", {}))}, "start_task: a script is written, the pool has another"),
        ({"metadata": {"project": "bees"}}, "metadata.project: bees is written, the pool has trees"),
    ],
)
def test_each_difference_is_told(change, expected):
    assert differences(replace(FULL, **change), there(FULL)) == [expected]


def test_differences_of_a_bare_pool():
    bare = models.BatchPool({"id": "bare", "vmSize": "standard_d4DS_v5", "targetDedicatedNodes": 1})
    told = differences(FULL, bare)
    assert not any(line.startswith(("vm_size", "nodes")) for line in told)
    assert "network.public_ip: false is written, the pool's nodes have public addresses" in told
    assert "start_task: a script is written, the pool has none" in told
    assert len(told) == 14


def test_targets_of_a_pool_that_scales_by_itself_are_not_compared():
    assert not differences(FULL, there(FULL, enableAutoScale=True, targetDedicatedNodes=77))


def test_identities_that_the_pool_has():
    pool = replace(FULL, identities=("/ME",))
    identity = {"type": "UserAssigned", "userAssignedIdentities": [{"resourceId": "/me"}]}
    assert not differences(pool, there(pool, identity=identity))


def test_the_start_task_runs_its_script_beside_its_files(tmp_path):
    packed = pack(
        b'echo "$MODE" > mode; cat data.txt > copy; echo "${%s:-gone}" > seen' % VARIABLE.encode(),
        {"data.txt": b"some data\n"},
    )
    # A node runs the command line without a shell, as split by the rules of the platform.
    import shlex

    environment = {"PATH": "/usr/bin:/bin", "MODE": "fast", VARIABLE: packed}
    subprocess.run(shlex.split(COMMAND_LINE), cwd=tmp_path, env=environment, check=True)
    contents = [(tmp_path / name).read_text() for name in ("mode", "copy", "seen")]
    assert contents == ["fast\n", "some data\n", "gone\n"]


def test_a_start_task_that_fails_fails(tmp_path):
    import shlex

    environment = {"PATH": "/usr/bin:/bin", VARIABLE: pack(b"exit 3", {})}
    done = subprocess.run(shlex.split(COMMAND_LINE), cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 3


def test_packing_is_the_same_for_the_same_contents():
    first = pack(b"1", {"b": b"2", "a": b"3"})
    assert first == pack(b"1", {"a": b"3", "b": b"2"})
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(first))) as archive:
        assert sorted(archive.getnames()) == ["a", "b", "start.sh"]


def test_the_request_is_json():
    assert json.loads(json.dumps(asked(FULL)))["id"] == FULL.pool_id
