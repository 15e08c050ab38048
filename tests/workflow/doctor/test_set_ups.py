"""``doctor`` on set-ups that are broken in one way each: it finds what is wrong, says why, and what mends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from azure.batch import BatchClient
from azure.batch import models as m

from snakemake_executor_azurebatch.doctor import task
from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.control import Control
from tests.unit.emulator.process_support import wait_until
from tests.workflow.doctor.office import CLOSED, GOOD, other_key


def test_what_is_right_passes(office):
    with office.batch() as client:
        before = {job.id for job in client.list_jobs()}
    code, found = office.findings()
    assert code == 0, found
    verdicts = {one["about"]: one["verdict"] for one in found}
    assert [about for about, verdict in verdicts.items() if verdict == "warn"] == ["registry"]
    assert [about for about, verdict in verdicts.items() if verdict == "skipped"] == ["quota"]
    assert verdicts["rights (Batch)"] == verdicts["storage write, read, delete"] == "pass"
    with office.batch() as client:
        wait_until(lambda: {job.id for job in client.list_jobs()} <= before, "the Batch job of the probe stays")


def test_a_table_that_fits_and_commands_that_can_be_copied(office):
    office.profile(azurebatch_vm_size="Standard_D4s_v")
    # In a process of its own: the width of a terminal is looked up when a program starts.
    words = [str(Path(sys.executable).parent / "snakemake-azurebatch"), "doctor", "--profile", "p"]
    done = subprocess.run(words, env={**os.environ, "COLUMNS": "60"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    table, _, mends = done.stdout.partition("\n\n")
    assert max(map(len, table.splitlines())) <= 60
    assert "fail: VM size (of the settings). To mend it:\n  az batch location list-skus" in mends
    assert "1 fail" in done.stdout.splitlines()[-1]


# -- settings --------------------------------------------------------------------------------------------


def test_no_account(office):
    for name in ("BATCH_ACCOUNT_URL", "STORAGE_ACCOUNT_CONNECTION_STRING", "STORAGE_ACCOUNT_NAME"):
        office.set(name, "")
    _, found = office.findings()
    failed = [(one["about"], one["mend"].partition("=")[0]) for one in found if one["verdict"] == "fail"]
    assert failed == [("settings", "export BATCH_ACCOUNT_URL"), ("settings", "export STORAGE_ACCOUNT_NAME")]


def test_a_setting_that_does_not_exist(office):
    office.profile(azurebatch_vmsize="x")
    office.fails("settings", "azurebatch-vmsize: there is no such setting", "reference-settings.md")


def test_a_key_that_was_not_copied_whole(office):
    office.set("BATCH_ACCOUNT_KEY", "not-a-whole-key")
    _, found = office.findings()
    assert "is not base64" in found[0]["said"]
    assert found[0]["mend"].startswith("export BATCH_ACCOUNT_KEY=$(az batch account keys list")


def test_half_of_a_registry(office):
    office.profile(azurebatch_registry_server="mine.azurecr.io")
    office.fails("settings", "a container registry needs all of", "export REGISTRY_PASSWORD=$(az acr credential show")


def test_a_local_service_that_a_run_would_start(office, tmp_path):
    """None runs: what counts is whether one can be started."""
    (tmp_path / "file").write_text("")
    office.profile(azurebatch_emulator=True)
    office.set(emulator.STATE_DIR_VARIABLE, str(tmp_path / "nowhere"))
    assert "Node.js" in {one["about"] for one in office.findings()[1]}
    office.set(emulator.STATE_DIR_VARIABLE, str(tmp_path / "file/x"))
    office.fails("state folder", "file is no folder", f"export {emulator.STATE_DIR_VARIABLE}=FOLDER")


def test_a_profile_that_cannot_be_read(office):
    (office.folder / "p/config.yaml").write_text("a: [")
    done = office.call()
    assert (done.exit_code, "The profile cannot be read: p/config.yaml" in done.stderr) == (1, True)


# -- the Batch account -----------------------------------------------------------------------------------


def test_nobody_is_signed_in(office):
    office.set("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    office.set("BATCH_ACCOUNT_KEY", "")
    office.fails(
        *("sign-in (Batch)", "finds nobody who is signed in", "az login"),
        *("--account-url", "https://nobody.westeurope.batch.azure.com"),
    )


def test_a_wrong_key(office):
    office.set("BATCH_ACCOUNT_KEY", other_key(os.environ["BATCH_ACCOUNT_KEY"]))
    mend = f"export BATCH_ACCOUNT_KEY=$(az batch account keys list --name {office.service.account}"
    office.fails("Batch account", "the key is not that of account", mend)


def test_a_wrong_url_or_no_network(office):
    office.fails("Batch account", "no answer", "az batch account show --name", "--account-url", CLOSED)


def test_a_clock_that_is_wrong(office):
    control = Control(office.service)
    control.clock(skewSeconds=-3600)
    try:
        code, found = office.findings()
    finally:
        control.clock(skewSeconds=0)
    failed = {one["about"]: one for one in found if one["verdict"] == "fail"}
    assert (code, sorted(failed)) == (1, ["Batch account", "clock"])
    assert "ahead of the service's: requests that are 15 minutes off are refused" in failed["clock"]["said"]
    assert failed["clock"]["mend"].startswith("sudo timedatectl set-ntp true")
    assert "or this machine's clock is wrong" in failed["Batch account"]["said"]


def test_too_many_active_jobs(office, monkeypatch):
    """The local service has no such quota; the answer is that of Azure Batch's reference."""
    from azure.core.exceptions import HttpResponseError

    def refuse(*_, **__):
        refusal = HttpResponseError("The active job and job schedule quota is reached.")
        refusal.status_code, refusal.error = 409, m.BatchError(code="ActiveJobAndScheduleQuotaReached")
        raise refusal

    monkeypatch.setattr(BatchClient, "create_job", refuse)
    office.fails("rights (Batch)", "too many Batch jobs are active", "snakemake-azurebatch cleanup")


# -- pools -----------------------------------------------------------------------------------------------


def test_a_vm_size_that_is_misspelt(office):
    office.profile(azurebatch_vm_size="Standard_D4s_v55")
    office.fails("VM size (of the settings)", "did you mean Standard_D4s_v5?", "az batch location list-skus")


def test_too_many_task_slots(office):
    office.profile(azurebatch_task_slots_per_node=17)
    office.fails("VM size (of the settings)", "17 task slots", "azurebatch-task-slots-per-node: 4")


@pytest.mark.parametrize(
    ("image", "agent", "said"),
    [
        ("nobody:nothing:1", "batch.node.ubuntu 22.04", "is not among the images that Azure Batch supports"),
        (
            *("microsoft-azure-batch:ubuntu-server-container:20-04-lts", "batch.node.ubuntu 20.04"),
            "ended on 2025-04-23",
        ),
        ("canonical:ubuntu-24_04-lts:server", "batch.node.ubuntu 24.04", "runs no containers"),
    ],
)
def test_a_machine_image_that_cannot_be_used(office, image, agent, said):
    office.profile(azurebatch_os_image=image, azurebatch_node_agent_sku=agent)
    office.fails("machine image (of the settings)", said, "azurebatch-os-image: microsoft-dsvm:ubuntu-hpc:2404")


def test_a_node_agent_that_does_not_fit(office):
    office.profile(azurebatch_node_agent_sku="batch.node.ubuntu 22.04")
    mend = "azurebatch-node-agent-sku: batch.node.ubuntu 24.04"
    office.fails("machine image (of the settings)", "goes with batch.node.ubuntu 24.04", mend)


def test_a_pools_file_with_errors(office):
    office.profile(azurebatch_pools="pools.yaml", azurebatch_os_image=None, azurebatch_node_agent_sku=None)
    (office.folder / "p/pools.yaml").write_text("pools:\n  - name: a\n    vmsize: Standard_D4s_v5\n")
    office.fails("pools.yaml", "p/pools.yaml:3: pools[0].vmsize: there is no such key", "Edit p/pools.yaml")


def test_a_pool_of_a_file_that_nobody_could_make(office):
    changes = {"azurebatch_pools": "pools.yaml", "azurebatch_os_image": None, "azurebatch_node_agent_sku": None}
    office.profile(**changes)
    (office.folder / "p/pools.yaml").write_text(
        "pools:\n  - {name: tagged, vm_size: Standard_D4s_v5, nodes: {dedicated: 1}, tags: {project: trees}}\n"
    )
    assert office.findings()[0] == 0
    office.set("BATCH_ACCOUNT_RESOURCE_ID", "")
    office.fails(
        "pool (tagged)",
        "a run cannot make it with identities or tags; missing: the resource id of the Batch account",
        "export BATCH_ACCOUNT_RESOURCE_ID=",
    )


def test_a_pool_of_a_file_that_cannot_sign_in(office):
    changes = {"azurebatch_pools": "pools.yaml", "azurebatch_os_image": None, "azurebatch_node_agent_sku": None}
    office.profile(container_image="mine.azurecr.io/tools:1", **changes)
    pool = "  - {name: a, vm_size: Standard_D4s_v5, nodes: {dedicated: 1}REGISTRIES}\n"
    (office.folder / "p/pools.yaml").write_text("pools:\n" + pool.replace("REGISTRIES", ""))
    said = "nothing to sign in with for mine.azurecr.io/tools:1"
    office.fails("registry sign-in (a)", said, "registries: [{server: mine.azurecr.io, username: ...")
    open_one = ", registries: [{server: mine.azurecr.io, anonymous: true}]"
    (office.folder / "p/pools.yaml").write_text("pools:\n" + pool.replace("REGISTRIES", open_one))
    assert office.findings()[0] == 0


def make_pool(office, name: str, nodes: int) -> None:
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
        container_configuration=m.BatchContainerConfiguration(type="dockerCompatible"),
    )
    with office.batch() as client:
        client.create_pool(
            m.BatchPoolCreateOptions(
                id=name, vm_size="Standard_D4s_v5", virtual_machine_configuration=machine, target_dedicated_nodes=nodes
            )
        )
        wait_until(lambda: client.get_pool(name).allocation_state == "steady", "the pool is not steady")
        wait_until(
            lambda: all(node.state not in ("creating", "starting") for node in client.list_nodes(name)),
            "the nodes have not started",
        )


def drop_pool(office, name: str) -> None:
    with office.batch() as client:
        client.begin_delete_pool(name, polling_interval=0.1).wait(60)


def test_no_quota(office):
    control = Control(office.service)
    fault = control.add_fault("quota", pool="doctor-quota", limit=0)
    try:
        make_pool(office, "doctor-quota", 2)
        office.profile(azurebatch_pool_id="doctor-quota")
        mend = f"az batch account show --name {office.service.account}"
        office.fails("pool (of the settings)", "doctor-quota cannot get its nodes: AccountCoreQuotaReached", mend)
    finally:
        control.remove_fault(fault["id"])
        drop_pool(office, "doctor-quota")


def test_nodes_that_take_no_tasks(office):
    make_pool(office, "doctor-nodes", 1)
    try:
        Control(office.service).add_fault("unusable", pool="doctor-nodes")
        office.profile(azurebatch_pool_id="doctor-nodes")
        mend = "az batch node delete --pool-id doctor-nodes --node-list"
        office.fails("pool (of the settings)", "1 of 1 nodes of doctor-nodes take no tasks", mend)
    finally:
        drop_pool(office, "doctor-nodes")


def test_a_task_says_what_the_image_has(office):
    code, found = office.findings("--task")
    assert code == 0, found
    assert [one["verdict"] for one in found[-2:]] == ["pass", "pass"]
    assert found[-1]["about"] == "versions in the image"
    with office.batch() as client:
        assert not [job.id for job in client.list_jobs() if str(job.id).startswith("smk-smk-doctor")]


def test_a_task_that_fails(office):
    office.set("PATH", f"{office.folder}{os.pathsep}{os.environ['PATH']}")
    (office.folder / "p/config.yaml").write_text(yaml.safe_dump({**GOOD, "azurebatch-pool-id": "no such id"}))
    found = task.check_task(["--profile", str(office.folder / "p")], None, dict(os.environ))
    assert [one.verdict for one in found] == ["fail"]
    assert "'no such id' is not a pool's id" in found[0].said
