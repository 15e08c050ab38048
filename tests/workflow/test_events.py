"""What logger plugins of Snakemake are given beside text."""

import json

import pytest

RECORDER = """
import json
import os

from snakemake_interface_logger_plugins.base import LogHandlerBase

class LogHandler(LogHandlerBase):
    def emit(self, record):
        if hasattr(record, "azurebatch"):
            with open(os.environ["EVENTS"], "a") as stream:
                print(json.dumps([record.levelname, record.getMessage(), record.azurebatch]), file=stream)

    writes_to_stream = writes_to_file = has_filter = has_formatter = needs_rulegraph = False
"""


@pytest.fixture
def recorded(workdir):
    """Runs with a logger plugin that keeps the events."""
    plugins, file = workdir.path.parent / "plugins", workdir.path.parent / "events.jsonl"
    (plugins / "snakemake_logger_plugin_recorder").mkdir(parents=True)
    (plugins / "snakemake_logger_plugin_recorder/__init__.py").write_text(RECORDER)
    workdir.environment.update(EVENTS=str(file), PYTHONPATH=f"{plugins}:{workdir.variables().get('PYTHONPATH', '')}")
    workdir.write(
        "Snakefile",
        'rule all:\n    input: "a.txt"\nrule a:\n    output: "a.txt"\n    shell: "echo a > {output}"\n',
    )

    def run(*arguments):
        workdir.run("--logger", "recorder", *arguments).must_succeed()
        return [json.loads(line) for line in file.read_text().splitlines()]

    return run


def test_each_task_and_the_end_are_events(recorded, workdir):
    (level, text, task), (end_level, end_text, end) = recorded("--verbose")

    kept = json.loads((workdir.path / ".snakemake/azurebatch/tasks.jsonl").read_text())
    assert (level, task) == ("DEBUG", {"event": "task_ended", **kept})
    assert text.startswith(f"Task {kept['task']}: a succeeded on {kept['node']}: ")
    assert (end_level, end["event"], end["succeeded"], end["failed"]) == ("INFO", "run_ended", 1, 0)
    assert end_text.startswith("Jobs: 1 succeeded in ")
    [pool] = end["pools"]
    assert (pool["pool"], pool["node_hours"] > 0, pool["price"] > 0) == (kept["pool"], True, True)


def test_without_verbose_the_end_alone(recorded):
    assert [known["event"] for _, _, known in recorded()] == ["run_ended"]
