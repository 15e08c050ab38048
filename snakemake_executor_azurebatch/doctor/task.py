"""One tiny job, run as a workflow of the user's is: the only way to see an image from inside. It costs a node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, warned
from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.options import Storage
from snakemake_executor_azurebatch.staging.store import calling

ABOUT = "a task"
OUTPUT = "doctor.txt"
LIMIT_S = 1800
_LAST_LINES = 15
#: In any image with a shell: what is not there leaves its line empty.
SNAKEFILE = f"""
rule doctor:
    output: "{OUTPUT}"
    resources: azurebatch_lane="shell"
    shell:
        "(python3 --version || python --version || echo) 2> /dev/null | head -n 1 > {{output}}; "
        "(snakemake --version || echo) 2> /dev/null | head -n 1 >> {{output}}"
"""


def check_task(arguments: Sequence[str], storage: Storage | None, environment: dict[str, str]) -> list[Finding]:
    """Run it with these options of snakemake; its blob container goes afterwards."""
    with TemporaryDirectory(prefix="smk-doctor-") as name:
        folder = Path(name).resolve()
        (folder / "Snakefile").write_text(SNAKEFILE)
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--nocolor",
            "--jobs",
            "1",
            "--executor",
            "azurebatch",
            "--azurebatch-delete-job",
            *arguments,
        ]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False, timeout=LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [failed(ABOUT, f"it has not ended within {LIMIT_S // 60} minutes", "snakemake-azurebatch status")]
        finally:
            _forget(storage, folder)
        if done.returncode != 0:
            said = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
            return [failed(ABOUT, f"it has failed:\n{said}", "docs/failures.md says what each failure is")]
        return [passed(ABOUT, "it ran, and its output came back"), judge_image((folder / OUTPUT).read_text())]


def judge_image(text: str) -> Finding:
    """What the task has written: Python's version, Snakemake's, each perhaps empty (pure)."""
    about = "versions in the image"
    python, snakemake = [*text.splitlines(), "", ""][:2]
    here = version("snakemake")
    if not python:
        return warned(
            about, "no Python: Azure Batch moves the files, and only rendered shell commands run", "docs/lanes.md"
        )
    if snakemake != here:
        has = f"Snakemake {snakemake}" if snakemake else "no Snakemake"
        return warned(
            about,
            f"{python}, {has}: jobs that need Snakemake in their task (run:, script:, ...) need {here}",
            f"RUN pip install snakemake=={here}   # in the image's Dockerfile",
        )
    return passed(about, f"{python}, Snakemake {snakemake}")


def _forget(storage: Storage | None, folder: Path) -> None:
    if storage is None:  # a local service of the run's own has ended with it
        return
    with clients.blob_service(storage) as blobs, suppress(ServiceError), calling("deleting a blob container"):
        blobs.delete_container(container_name(str(folder)))
