"""The script of a task that Azure Batch starts a second time in the same folder."""

import os
import signal
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Product
from snakemake_executor_azurebatch.staging.left import read_report, record_of
from snakemake_executor_azurebatch.staging.opened import Opened
from tests.unit.staging.wrapper_support import SHELLS, WORKDIR, Node, make_node

OUTPUTS = [Product("o"), Product("optional", optional=True)]


@pytest.fixture(params=list(SHELLS))
def node(request, tmp_path) -> Node:
    node = make_node(tmp_path, request.param)
    node.bring("shut/in", b"given\n")
    return node


def start(node: Node, tmp_path, end: signal.Signals) -> None:
    """The first start, ended while its command runs."""
    started = tmp_path / "started"
    os.mkfifo(started)
    command = f"echo 1 > optional; chmod a-w shut; echo > {started}; exec sleep 600"
    process = node.start(command, outputs=OUTPUTS, opened=[Opened("shut", (), (), (("", 0o555),))])
    started.read_text()
    (child,) = _children(process.pid)
    process.send_signal(end)
    if end == signal.SIGKILL:  # as all of a node's processes end when it is lost
        os.kill(child, end)
    process.communicate()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_the_first_start_counts(node, tmp_path, end):
    start(node, tmp_path, end)
    (node.wd / "smk/out/1").write_text("of the first start, which ended while it was being stored")

    assert node.run("[ ! -e optional ]; cat shut/in > o", outputs=OUTPUTS) == (0, "")

    assert node.outs() == {"0"}
    assert node.out("0") == b"given\n"
    record = record_of("t", read_report("\n".join(node.report())), OUTPUTS, [], ([], []))
    assert (record.exit_code, record.reason) == (0, "")
    assert not [line for line in node.report() if line.startswith("error ")]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("lacks", ["smk/in/0", "smk/sources"])
def test_files_that_are_not_brought_again_are_no_fault_of_the_task(node, tmp_path, end, lacks):
    start(node, tmp_path, end)
    node.arrivals.pop(lacks, None)

    code, text = node.run(sources="smk/sources" if lacks == "smk/sources" else "")

    path = f"{WORKDIR}/shut/in" if lacks == "smk/in/0" else "the workflow's sources"
    message = f"{path}: the task was started again on its node without its files"
    assert (code, text) == (143, f"[stage] {message}\n")
    record = record_of("t", read_report("\n".join(node.report())), OUTPUTS, [], ([], []))
    assert (record.error_class, record.reason) == (protocol.ERROR_COMMAND, protocol.REASON_STOPPED)
    assert record.error_message == message
