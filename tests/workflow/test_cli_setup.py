"""What ``setup`` leaves behind, where the local service can tell whether it works."""

import re

import pytest
from azure.batch import models as m

from snakemake_executor_azurebatch.emulator.testing import LocalBatch, StartOptions, running
from snakemake_executor_azurebatch.provisioning.names import Names
from snakemake_executor_azurebatch.provisioning.profile import POOLS, contents, template_path
from tests.unit.emulator.process_support import wait_until
from tests.workflow.conftest import Workdir


@pytest.fixture
def batch(tmp_path):
    """A service in whose time a minute is a second: samples of waiting tasks are taken twice a minute."""
    options = StartOptions(clock_speed=60, simulate="3600", with_blobs=False)
    with running(tmp_path, options) as service, service.client() as client:
        yield client


def formula(most: int, slots: int) -> str:
    text = re.search(r"^var formula = '''\n(.*?)'''$", template_path().read_text(), re.MULTILINE | re.DOTALL)[1]
    return text.format(most, slots)


def test_the_pool_with_an_identity_grows_with_its_tasks(batch):
    """The formula of the template: none for no task, then as many as they fill, and never more than the most."""
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
    )
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id="setup-formula", vm_size="Standard_D4s_v5", virtual_machine_configuration=machine,
            enable_auto_scale=True, auto_scale_formula=formula(3, 4), task_slots_per_node=4,
        )
    )  # fmt: skip
    assert wanted(batch) == 0
    pool = m.BatchPoolInfo(pool_id="setup-formula")
    batch.create_job(m.BatchJobCreateOptions(id="setup-formula", pool_info=pool))
    add_tasks(batch, 0, 5)
    wait_until(lambda: wanted(batch) == 2, "two nodes for five tasks of four slots")
    add_tasks(batch, 5, 20)
    wait_until(lambda: wanted(batch) == 3, "no more than the most")


def add_tasks(batch, first, end):
    for number in range(first, end):
        task = m.BatchTaskCreateOptions(id=f"t{number}", command_line="true")
        batch.create_task("setup-formula", task)


def wanted(batch):
    options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula(3, 4))
    run = batch.evaluate_pool_auto_scale("setup-formula", options)
    assert run.error is None, run.error
    return int(re.search(r"\$TargetDedicatedNodes=(\d+)", run.results)[1])


@pytest.fixture
def workdir(tmp_path):
    """With a service whose clock is quick: Azure Batch takes one change of a formula in 30 seconds."""
    (tmp_path / "work").mkdir()
    with running(tmp_path / "service", StartOptions(clock_speed=20)) as service:
        yield Workdir(tmp_path / "work", service.service)


def test_a_run_leases_the_pool_with_an_identity(workdir):
    """The pool as the template makes it, and the profile that names it: it need not wait for its own formula."""
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2204"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
        container_configuration=m.BatchContainerConfiguration(type="dockerCompatible"),
    )
    names = Names("westeurope", "mylab", "mylab", "mylab", "mylabimages", "mylab-nodes")
    workdir.write(POOLS, contents(names, workdir.path)[POOLS])
    workdir.write("Snakefile", 'rule a:\n    output: "a.txt"\n    shell: "echo a > {output}"\n')
    with LocalBatch(workdir.service).client() as client:
        client.create_pool(
            m.BatchPoolCreateOptions(
                id="snakemake", vm_size="Standard_D4s_v5", virtual_machine_configuration=machine,
                enable_auto_scale=True, auto_scale_formula=formula(4, 4), task_slots_per_node=4,
            )
        )  # fmt: skip
    command = workdir.azurebatch("--azurebatch-pools", POOLS)
    for option in ("--azurebatch-dedicated-nodes", "--azurebatch-task-slots-per-node"):
        at = command.index(option)
        del command[at : at + 2]
    told = workdir.call(command).must_succeed()
    assert "on pool snakemake (existing)" in told.text
    assert workdir.read("a.txt") == "a\n"
