"""Runs the command: its environment, its shell, its signals, what it used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import protocol
from .download import remove_quietly
from .errors import StageError
from .signals import Signals
from .workspace import Workspace


class Ended(NamedTuple):
    """How the command ended: its exit code, or 128 + N after signal N."""

    exit_code: int
    peak_memory_bytes: Optional[int]
    cpu_s: Optional[float]


def run_command(manifest: protocol.Manifest, workspace: Workspace, stager: str, signals: Signals) -> Ended:
    """Run the manifest's script in the workspace with bash, else sh. Raises StageError without a shell."""
    pins = os.path.join(workspace.task_dir, "pins.json")
    script = os.path.join(workspace.task_dir, "script.sh")
    _write(pins, json.dumps(manifest.command.pins))
    remove_quietly(pins + protocol.EXIT_CODE_SUFFIX)  # of a task that was started here before
    _write(script, manifest.command.script)
    added = dict(
        manifest.environment,
        **{
            protocol.ENV_PYTHON: sys.executable or "python3",
            protocol.ENV_STAGER: stager,
            protocol.ENV_PINS: pins,
            protocol.ENV_SNAKEMAKE: manifest.command.snakemake_version,
            protocol.ENV_STAGED_PROVIDERS: ",".join(manifest.command.staged_providers),
            protocol.ENV_TASK_PROVIDERS: ",".join(manifest.command.task_providers),
        },
    )
    environment = command_environment(os.environ, added, workspace.task_dir)
    for shell in ("bash", "sh"):
        try:
            code = signals.run(lambda: start([shell, script], workspace.workdir, environment))  # noqa: B023  at once
        except FileNotFoundError:
            continue
        return Ended(code if code >= 0 else 128 - code, *used())
    raise StageError("neither bash nor sh is in the image")


_OUR_OWN = (protocol.ENV_READ_URL, protocol.ENV_WRITE_URL, protocol.ENV_MANIFEST, protocol.ENV_MANIFEST_TEXT)


def command_environment(inherited: Mapping[str, str], added: Mapping[str, str], home: str) -> Dict[str, str]:
    """What the command sees: never the SAS, always a home that it can write to, and a user name.

    A container may run under a uid without an entry in its passwd file: programs that ask for the home or
    the user then fail, Snakemake among them. Azure Batch names the home of the task's user on the node, which is
    not in the container (seen in public issues: nf-core/fetchngs#64), and Docker a "/" for a user it does not find.
    """
    environment = dict(inherited)
    for name in _OUR_OWN:
        environment.pop(name, None)
    environment.update(added)
    user, entry_home = _passwd()
    environment.setdefault("HOME", entry_home)
    if not _is_writable(environment["HOME"]):
        environment["HOME"] = home
    environment.setdefault("USER", environment.get("LOGNAME") or user)
    environment.setdefault("LOGNAME", environment["USER"])
    return environment


def start(argv: List[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that a signal can be sent to all that it starts."""
    return subprocess.Popen(argv, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text)


def _is_writable(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _passwd() -> Tuple[str, str]:
    try:
        import pwd

        entry = pwd.getpwuid(os.getuid())
    except (ImportError, KeyError):
        return "user%d" % os.getuid(), ""
    return entry.pw_name, entry.pw_dir


def used() -> Tuple[Optional[int], Optional[float]]:
    """Memory of the largest process below us, and CPU time of all that were waited for.

    Linux counts memory in KiB, macOS in bytes. source: getrusage(2) of both.
    """
    try:
        import resource
    except ImportError:
        return None, None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit_bytes, round(usage.ru_utime + usage.ru_stime, 3)
