"""Whose a process is, as the meter of memory and processor time sees it."""

import os
import subprocess
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator.agent.usage import Processes

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="processes are only seen where there is /proc"
)


def test_a_process_that_is_long_in_becoming_a_tasks_is_seen(tmp_path):
    """As a container's first one, which is the engine's own program until all is set up."""
    directory = os.fsencode(tmp_path)
    script = f'read go; AZ_BATCH_TASK_DIR="{tmp_path}" exec sh -c "echo ready; read end"'
    processes = Processes()
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}) as process:
        looks = [processes.used_by({directory}) for _ in range(20)]
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        seen = processes.used_by({directory})
        process.stdin.close()
    assert looks == [{}] * 20
    assert seen[directory].peak_memory_bytes > 0


def test_what_leaves_its_environment_behind_is_still_the_tasks(tmp_path):
    directory = os.fsencode(tmp_path)
    script = 'echo one; read go; exec env -i sh -c "echo two; read end"'
    environment = {**os.environ, "AZ_BATCH_TASK_DIR": str(tmp_path)}
    processes = Processes()
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout.readline() == b"one\n"
        before = processes.used_by({directory})
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"two\n"
        after = processes.used_by({directory})
        process.stdin.close()
    assert before.keys() == after.keys() == {directory}
