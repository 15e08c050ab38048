"""What Snakemake does around a shell command, done for a rendered one: old outputs, touch(), logs, benchmark.

source: Snakemake 9.27.1 (Job.prepare, DAG.handle_touch, DAG.handle_log, BenchmarkRecord), seen in runs of it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from .command import Ended, command_environment, start, used
from .errors import StageError, why
from .protocol import DIRECTORY, Manifest, Product, Shell
from .signals import Signals
from .workspace import Workspace, remove_tree

#: The most that goes into one argument; a longer command goes into a file (source: Snakemake 9.27.1, MAX_ARG_LEN).
MOST_ARGUMENT_CHARACTERS = 16 * 4096 - 1

HEADER = ("s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss", "io_in", "io_out", "mean_load", "cpu_time")
NOT_KNOWN = "NA"


class Repetition(NamedTuple):
    """What one run of the command took."""

    wall_s: float
    cpu_s: Optional[float]
    peak_memory_bytes: Optional[int]


def prepare(manifest: Manifest, workspace: Workspace) -> str:
    """Remove what the command is to make anew, make its folders. Returns where it runs. Raises StageError, OSError."""
    given = {item.path for item in manifest.inputs}
    products = [*manifest.outputs, *manifest.logs]
    for product in products:
        place = workspace.locate(product.path)
        if product.path not in given and workspace.owns(place) and os.path.lexists(place):
            _remove(place, product)
    for product in products:  # after all removals: one may lie in the folder of another
        workspace.make_folder(os.path.dirname(workspace.locate(product.path)))
    folder = workspace.locate(manifest.command.folder)
    workspace.make_folder(folder)
    if manifest.command.tmpdir:
        workspace.make_folder(os.path.join(folder, manifest.command.tmpdir))
    return folder


def finish(manifest: Manifest, workspace: Workspace, exit_code: int) -> None:
    """Make the files that Snakemake makes after a command: touch() outputs of a good one, logs in any case."""
    wanted = [*manifest.logs, *(product for product in manifest.outputs if product.touch and exit_code == 0)]
    for product in wanted:
        place = workspace.locate(product.path)
        if not os.path.lexists(place):
            _make_empty(place, product)


def argv(shell: Shell, program: str, command: str, script: str) -> List[str]:
    """What is started; a long command is written to the file ``script`` first."""
    text = shell.text(command)
    if len(text.replace("'", r"'\''")) + 2 <= MOST_ARGUMENT_CHARACTERS:
        return [program, *shell.options, text]
    with open(script, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text + "\n")
    return [program, *(option for option in shell.options if option != "-c"), script]


def find_shell(shells: Sequence[Shell]) -> Tuple[Shell, str]:
    """The first shell that is here, and its program. Raises StageError."""
    for shell in shells:
        # The controller's path may not be the image's.
        for name in dict.fromkeys((shell.program, os.path.basename(shell.program))):
            found = shutil.which(name)
            if found:
                return shell, found
    raise StageError("not in the image: %s" % ", ".join(shell.program for shell in shells))


def write_benchmark(path: str, repetitions: Sequence[Repetition]) -> None:
    """The file of ``benchmark:`` as Snakemake writes it; NA for what is not measured here. Raises StageError."""
    rows = [_row(repetition) for repetition in repetitions]
    if path.endswith(".jsonl"):
        lines = [json.dumps(dict(zip(HEADER, row)), sort_keys=True) for row in rows]
    else:
        lines = ["\t".join(HEADER), *("\t".join(map(_text, row)) for row in rows)]
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
    except OSError as error:
        raise StageError("%s: cannot be written: %s" % (path, why(error))) from error


def run_rendered(manifest: Manifest, workspace: Workspace, signals: Signals) -> Ended:
    """Run the command, as often as it is to be measured, and what belongs around it. Raises StageError, OSError."""
    folder = prepare(manifest, workspace)
    shell, program = find_shell(manifest.command.shells)
    environment = command_environment(os.environ, manifest.environment, workspace.task_dir)
    script = os.path.join(workspace.task_dir, "command.sh")
    repetitions: List[Repetition] = []
    ended = Ended(0, None, None)
    for command in [manifest.command.script, *manifest.command.repetitions]:
        words = argv(shell, program, command, script)
        began, cpu_before_s = time.monotonic(), ended.cpu_s
        code = signals.run(lambda: start(words, folder, environment))  # noqa: B023  at once
        ended = Ended(code if code >= 0 else 128 - code, *used())
        repetitions.append(_repetition(ended, time.monotonic() - began, cpu_before_s))
        if ended.exit_code or signals.received is not None:
            break
    finish(manifest, workspace, ended.exit_code)
    if manifest.command.benchmark and not ended.exit_code:
        write_benchmark(workspace.locate(manifest.command.benchmark), repetitions)
    return ended


def _repetition(ended: Ended, wall_s: float, cpu_before_s: Optional[float]) -> Repetition:
    cpu_s = None if ended.cpu_s is None else round(ended.cpu_s - (cpu_before_s or 0.0), 3)
    return Repetition(wall_s, cpu_s, ended.peak_memory_bytes)


def _remove(place: str, product: Product) -> None:
    """As Snakemake does: a folder only where one is declared, or where it is empty."""
    if os.path.isdir(place) and not os.path.islink(place):
        if product.kind == DIRECTORY:
            remove_tree(place)
        elif not os.listdir(place):
            os.rmdir(place)
    else:
        os.unlink(place)


def _make_empty(place: str, product: Product) -> None:
    try:
        if product.kind == DIRECTORY:
            os.makedirs(place)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "ab"):
                pass
    except OSError as error:
        raise StageError("%s: cannot be made: %s" % (product.path, why(error))) from error


def _row(took: Repetition) -> List[Any]:
    memory_mb = NOT_KNOWN if took.peak_memory_bytes is None else took.peak_memory_bytes / (1 << 20)
    load = NOT_KNOWN if took.cpu_s is None else 100 * took.cpu_s / max(took.wall_s, 0.0001)
    cpu_s = NOT_KNOWN if took.cpu_s is None else took.cpu_s
    unknown = [NOT_KNOWN] * 5
    return [round(took.wall_s, 4), _clock(took.wall_s), memory_mb, *unknown, load, cpu_s]


def _clock(seconds: float) -> str:
    """Hours:minutes:seconds, days before them."""
    days, rest = divmod(int(seconds), 24 * 3600)
    clock = time.strftime("%H:%M:%S", time.gmtime(rest)).lstrip("0")
    clock = "0" + clock if clock.startswith(":") else clock
    return "%d day%s, %s" % (days, "" if days == 1 else "s", clock) if days else clock


def _text(value: object) -> str:
    return "%.2f" % value if isinstance(value, float) else str(value)
