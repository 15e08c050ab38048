"""The command by hand, as a user has it: start, use with the real SDKs, stop; nothing is left."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.unit.emulator.process_support import BOUND_S, alive, processes_with, wait_gone, wait_until

COMMAND = str(Path(sys.executable).with_name("snakemake-azurebatch"))


@pytest.fixture
def state_dir(tmp_path):
    """A state directory; whatever a failed test leaves running there is ended."""
    yield tmp_path / "it's here"
    emulator(tmp_path / "it's here", "stop")


def emulator(state_dir, *arguments):
    environment = {**os.environ, "SNAKEMAKE_AZUREBATCH_EMULATOR_DIR": str(state_dir)}
    return subprocess.run(
        [COMMAND, "emulator", *arguments], capture_output=True, text=True, env=environment, check=False, timeout=900
    )


def exported(state_dir):
    """The environment of a shell after the documented line."""
    script = 'eval "$("$0" emulator env)"; exec "$1" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    environment = {"PATH": os.environ["PATH"], "SNAKEMAKE_AZUREBATCH_EMULATOR_DIR": str(state_dir)}
    shown = subprocess.run(
        ["bash", "-c", script, COMMAND, sys.executable], capture_output=True, text=True, env=environment, check=True
    )
    assert shown.stderr == ""
    return json.loads(shown.stdout)


def batch_client(environment):
    credential = AzureNamedKeyCredential(environment["BATCH_ACCOUNT_NAME"], environment["BATCH_ACCOUNT_KEY"])
    return BatchClient(environment["BATCH_ACCOUNT_URL"], credential)


def make_job(batch):
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="Canonical", offer="ubuntu", sku="22_04-lts"),
        node_agent_sku_id="batch.node.ubuntu 22.04",
    )
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id="pool", vm_size="standard_d2_v3", virtual_machine_configuration=machine, target_dedicated_nodes=1
        )
    )
    batch.create_job(m.BatchJobCreateOptions(id="job", pool_info=m.BatchPoolInfo(pool_id="pool")))


def wait_for(batch, task_id, state):
    def reached():
        return batch.get_task("job", task_id).state == state

    wait_until(reached, f"task {task_id} is not {state}")
    return batch.get_task("job", task_id)


def blob_container(environment):
    """A new blob container, and its URL with a SAS."""
    service = BlobServiceClient.from_connection_string(environment["AZURE_STORAGE_CONNECTION_STRING"])
    client = service.create_container("files")
    sas = generate_container_sas(
        environment["STORAGE_ACCOUNT_NAME"],
        "files",
        account_key=environment["STORAGE_ACCOUNT_KEY"],
        permission=ContainerSasPermissions(read=True, write=True, create=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return client, sas


def test_start_use_stop(state_dir):
    started = emulator(state_dir, "start")
    assert started.returncode == 0, started.stderr
    assert 'eval "$(snakemake-azurebatch emulator env)"' in started.stdout
    facts = json.loads(emulator(state_dir, "status", "--json").stdout)
    assert facts["running"] is True
    assert f"{facts['batch_url']} (account localbatch, process {facts['pid']})" in started.stdout
    again = emulator(state_dir, "start")
    assert (again.returncode, again.stdout) == (
        0,
        f"The local Azure Batch service runs already: {facts['batch_url']}\n",
    )

    environment = exported(state_dir)
    container, sas = blob_container(environment)
    with container, batch_client(environment) as batch:
        container.upload_blob("in.txt", b"from the blob\n")
        make_job(batch)
        destination = m.OutputFileBlobContainerDestination(container_url=f"{container.url}?{sas}", path="out.txt")
        batch.create_task(
            "job",
            m.BatchTaskCreateOptions(
                id="task",
                command_line="/bin/sh -c 'cp in.txt out; cat in.txt; echo $AZ_BATCH_TASK_ID'",
                resource_files=[m.ResourceFile(http_url=f"{container.url}/in.txt?{sas}", file_path="in.txt")],
                output_files=[
                    m.OutputFile(
                        file_pattern="out",
                        destination=m.OutputFileDestination(container=destination),
                        upload_options=m.OutputFileUploadConfiguration(upload_condition="tasksuccess"),
                    )
                ],
            ),
        )
        done = wait_for(batch, "task", "completed")
        assert (done.execution_info.result, done.execution_info.exit_code) == ("success", 0)
        stdout = b"".join(batch.download_task_file("job", "task", "stdout.txt"))
        assert stdout == b"from the blob\ntask\n"
        assert container.download_blob("out.txt").readall() == b"from the blob\n"

    azurite = processes_with(f"--location {state_dir}/azurite ")
    stopped = emulator(state_dir, "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "The local Azure Batch service has stopped.\n")
    assert not alive(facts["pid"])
    assert len(azurite) == 1
    wait_gone(azurite[0])
    assert emulator(state_dir, "status").returncode == 3


def test_stop_ends_running_tasks(state_dir):
    assert emulator(state_dir, "start").returncode == 0
    with batch_client(exported(state_dir)) as batch:
        pid = running_task(batch, state_dir)
    assert emulator(state_dir, "stop").returncode == 0
    assert not alive(pid)


def test_tasks_that_a_killed_service_left_are_ended_by_the_next(state_dir):
    assert emulator(state_dir, "start").returncode == 0
    with batch_client(exported(state_dir)) as batch:
        pid = running_task(batch, state_dir)
    os.kill(json.loads(emulator(state_dir, "status", "--json").stdout)["pid"], signal.SIGKILL)
    wait_until(lambda: emulator(state_dir, "status").returncode == 3, "the killed service is still found")
    assert alive(pid)
    assert emulator(state_dir, "start").returncode == 0
    assert not alive(pid)


def running_task(batch, state_dir):
    """The id of the process of a task that runs for ever."""
    make_job(batch)
    batch.create_task("job", m.BatchTaskCreateOptions(id="task", command_line="/bin/sh -c 'echo $$; sleep 600; true'"))
    wait_for(batch, "task", "running")
    files = list(state_dir.glob("nodes/pool/*/workitems/job/job-1/task/stdout.txt"))
    wait_until(lambda: files[0].read_text().endswith("\n"), "the task has not begun")
    return int(files[0].read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_stops_it(state_dir, number):
    process, facts = foreground(state_dir)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=BOUND_S)
    assert process.returncode == 0, stderr
    assert stdout.endswith("The local Azure Batch service has stopped.\n")
    assert not alive(facts["pid"])


def test_in_the_foreground_the_end_of_the_service_is_told(state_dir):
    process, facts = foreground(state_dir)
    os.kill(facts["pid"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=BOUND_S)
    assert process.returncode == 1
    assert stderr.startswith("The local Azure Batch service has ended (exit code -9). Its log: ")


def foreground(state_dir):
    """``start --foreground`` once it says where it is, and the facts of its service."""
    process = subprocess.Popen(
        [COMMAND, "emulator", "start", "--foreground", "--state-dir", str(state_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    facts = {}

    def told():
        facts.update(json.loads(emulator(state_dir, "status", "--json").stdout))
        return facts["running"]

    wait_until(told, "the service does not run")
    return process, facts
