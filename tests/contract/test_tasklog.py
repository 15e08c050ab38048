"""What a task took is in the task log."""

import json

from .conftest import wait_until

USING = "python3 -c 'import time; held = bytearray(80_000_000); held[::4096] = held[::4096]; time.sleep(1.5)'"


def entries(service, job: str) -> dict[str, dict]:
    lines = [json.loads(line) for line in service.config.task_log.read_text().splitlines()]
    return {line["task"]: line for line in lines if line["job"] == job}


def test_memory_and_processor_time_of_a_task(service, bench, name):
    bench.add("uses-memory", USING)
    bench.add("fails", "exit 3")
    wait_until(lambda: len(entries(service, name)) == 2)

    used, failed = (entries(service, name)[key] for key in ("uses-memory", "fails"))

    assert (used["exit_code"], used["failure"], used["kind"]) == (0, None, "task")
    assert used["peak_memory_bytes"] > 80_000_000
    assert used["cpu_s"] > 0
    assert used["duration_s"] >= 1.5
    assert (failed["exit_code"], failed["failure"]) == (3, "FailureExitCode")
