"""A node on which the script of a task runs whose files Azure Batch moves."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node.protocol import FILE, Shell
from snakemake_executor_azurebatch.rendering import Rendered
from snakemake_executor_azurebatch.staging.wrapper import SCRIPT, Arrival, Work, wrapper_script

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
BASH = Shell("bash", ["-c"], "set -euo pipefail; ")
SH = Shell("sh", ["-e", "-c"])
WORKDIR = "/home/someone/it's my project"
NEEDED = ("sh", "cat", "chmod", "mkdir", "mv", "rm", "rmdir", "readlink", "id", "echo", "ln", "wc", "sleep")


@dataclass
class Node:
    """A task's working directory. ``programs``: what its image has; None: what this machine has."""

    wd: Path
    shell: list[str]
    work: Work
    path: str = os.environ["PATH"]
    arrivals: dict[str, bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def bring(self, path: str, data: bytes, kind: str = FILE, mode: int = 0o644) -> None:
        arrives = f"smk/in/{len(self.arrivals)}"
        self.arrivals[arrives] = data
        self.work = replace(self.work, inputs=[*self.work.inputs, Arrival(arrives, path, kind, mode)])

    def start(self, command: str | None = None, **fields: object) -> subprocess.Popen[bytes]:
        work = replace(self.work, **fields)  # type: ignore[arg-type]
        if command is not None:
            work = replace(work, rendered=replace(work.rendered, texts=(command,)))
        for name, data in {**self.arrivals, SCRIPT: wrapper_script(work).encode("utf-8", "surrogateescape")}.items():
            (self.wd / name).parent.mkdir(parents=True, exist_ok=True)
            (self.wd / name).write_bytes(data)
        environment = {"PATH": self.path, "SMK_STAGE_READ_URL": "secret", **self.environment}
        return subprocess.Popen(
            [*self.shell, SCRIPT], cwd=self.wd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, command: str | None = None, **fields: object) -> tuple[int, str]:
        process = self.start(command, **fields)
        out, err = process.communicate()
        return process.returncode, (out + err).decode()

    def out(self, name: str) -> bytes:
        return (self.wd / "smk/out" / name).read_bytes()

    def outs(self) -> set[str]:
        return {path.name for path in (self.wd / "smk/out").iterdir()}

    def report(self) -> list[str]:
        return (self.wd / "smk/left/report").read_text().splitlines()

    def place(self, path: str) -> Path:
        return self.wd / "tree" / WORKDIR.strip("/") / path


def make_node(tmp_path: Path, name: str) -> Node:
    command = SHELLS[name]
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    wd = tmp_path / f"wd-{name}"
    wd.mkdir()
    rendered = Rendered(("true",), (BASH, SH), str(tmp_path / "tmp"), {"OMP_NUM_THREADS": "2"})
    return Node(wd, [program, *command[1:]], Work(WORKDIR, "", same_path=False, rendered=rendered))
