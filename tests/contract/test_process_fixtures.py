"""The fixtures for other people's tests, used as such people would; simulated tasks and a quick clock."""

from __future__ import annotations

import subprocess
import sys

CONFTEST = """
import pytest

from snakemake_executor_azurebatch.emulator.service import StartOptions

pytest_plugins = ["snakemake_executor_azurebatch.emulator.testing"]


@pytest.fixture(scope="session")
def local_batch_options():
    return StartOptions(simulate="30-90", clock_speed=600)
"""

TEST = """
import time

from azure.batch import models as m


def wait_until(holds):
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def environment(**variables):
    return [m.EnvironmentSetting(name=name, value=value) for name, value in variables.items()]


def test_simulated_tasks(local_batch):
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="p", offer="o", sku="s"), node_agent_sku_id="a"
    )
    with local_batch.client() as client, local_batch.blob_service() as blobs:
        assert list(blobs.list_containers()) == []
        client.create_pool(m.BatchPoolCreateOptions(
            id="p", vm_size="standard_d2_v3", virtual_machine_configuration=machine,
            target_dedicated_nodes=5, task_slots_per_node=20))
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        tasks = [m.BatchTaskCreateOptions(id=f"t{n}", command_line="/no/such/program") for n in range(100)]
        client.create_tasks("j", tasks)
        client.create_task("j", m.BatchTaskCreateOptions(
            id="fails", command_line="x",
            environment_settings=environment(SIMULATE_SECONDS="600", SIMULATE_EXIT_CODE="3")))
        client.create_task("j", m.BatchTaskCreateOptions(
            id="hangs", command_line="x", constraints=m.BatchTaskConstraints(max_wall_clock_time="PT10M"),
            environment_settings=environment(SIMULATE_SECONDS="1e9")))
        wait_until(lambda: all(task.state == "completed" for task in client.list_tasks("j")))
        found = {task.id: task.execution_info for task in client.list_tasks("j")}
        assert found["fails"].exit_code == 3
        assert (found["fails"].end_time - found["fails"].start_time).total_seconds() >= 600
        assert found["hangs"].failure_info.code == "TaskEnded"
        taken = [(found[f"t{n}"].end_time - found[f"t{n}"].start_time).total_seconds() for n in range(100)]
        assert min(taken) >= 30
        assert {file.name for file in client.list_task_files("j", "t0")} == {"stdout.txt", "stderr.txt", "wd"}


def test_faults_and_log(local_batch_session):
    local_batch_session.fault("throttle", route="/pools", seconds=0, count=1)
    with local_batch_session.client() as client:
        assert list(client.list_pools()) == []
    assert [line["status"] for line in local_batch_session.requests() if line["route"] == "/pools"] == [429, 200]
"""


def test_a_strangers_tests(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(TEST)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error::pytest.PytestAssertRewriteWarning",
            f"--basetemp={tmp_path / 'tmp'}",
            "test_mine.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
