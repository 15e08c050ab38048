"""How a task's container settings become a call of the engine (pure but for the user's own ids).

Source: the public documentation of Azure Batch (container settings of a task, "Run container workloads").
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from .engine import OWNER_LABEL, Engine
from .failures import trouble
from .layout import preparation_directory
from .work import Json, NodePlace, TaskWork

_IMPLIED = ("--rm", "--rm=true", "--rm=false")
_NETWORK = ("--network", "--net")
_ROOT = "0:0"

_MOUNTS: dict[str, Callable[[NodePlace, TaskWork], Path | None]] = {
    "shared": lambda place, _: place.root / "shared",
    "startup": lambda place, _: place.root / "startup",
    "vfsmounts": lambda place, _: place.root / "fsmounts",
    "task": lambda place, work: place.root / work.root_directory,
    "jobprep": preparation_directory,
    "applications": lambda place, _: place.root / "applications",
}


def settings_of(work: TaskWork) -> Json:
    """The task's containerSettings."""
    settings: Json = work.body.get("containerSettings") or {}
    return settings


def create_options(engine: Engine, place: NodePlace, work: TaskWork, name: str) -> list[str]:
    """The options of ``create``, without the environment. Raises TaskTrouble with ContainerInvalidSettings."""
    settings = settings_of(work)
    own = _run_options(settings)
    options = ["--name", name, "--label", f"{OWNER_LABEL}={engine.owner}", "--pull", "never", "--log-driver", "none"]
    if not any(option.partition("=")[0] in _NETWORK for option in own):  # an engine adds networks up
        options += ["--network", "host"]
    if engine.kind == "podman":  # where SELinux labels files, the node's stay as they are
        options += ["--security-opt", "label=disable"]
    for path, is_read_only in mounts(place, work):
        options += ["--mount", _mount(path, is_read_only=is_read_only)]
    if str(settings.get("workingDirectory") or "taskWorkingDirectory").lower() != "containerimagedefault":
        options += ["--workdir", str(place.root / work.root_directory / "wd")]
    return [*options, *user_options(engine, work, os.getuid(), os.getgid()), *own]


def _run_options(settings: Json) -> list[str]:
    """containerRunOptions come last, so that they win. The container is removed in any case."""
    try:
        words = shlex.split(str(settings.get("containerRunOptions") or ""))
    except ValueError as error:
        message = f"containerRunOptions cannot be split: {error}"
        raise trouble("ContainerInvalidSettings", Message=message) from error
    return [word for word in words if word not in _IMPLIED]


def mounts(place: NodePlace, work: TaskWork) -> list[tuple[Path, bool]]:
    """What of the node the container sees at the same path, and whether read-only: the whole where nothing is said."""
    entries = settings_of(work).get("containerHostBatchBindMounts")
    if entries is None:
        return [(place.root, False)]
    found = []
    for entry in entries:
        source = str(entry.get("source") or "")
        path_of = _MOUNTS.get(source.lower())
        path = path_of(place, work) if path_of is not None else None
        if path is None:
            message = f"containerHostBatchBindMounts: there is no source {source!r} for this task"
            raise trouble("ContainerInvalidSettings", Message=message)
        found.append((path, bool(entry.get("isReadOnly"))))
    return found


def user_options(engine: Engine, work: TaskWork, uid: int, gid: int) -> list[str]:
    """Files that a task writes are to belong to the service's user; an administrator is root.

    source: public documentation of docker and podman (rootless mode)
    """
    elevation = ((work.body.get("userIdentity") or {}).get("autoUser") or {}).get("elevationLevel")
    if str(elevation or "").lower() == "admin":
        return ["--user", _ROOT]
    if engine.is_rootless and engine.kind == "docker":  # its root is the service's user
        return ["--user", _ROOT]
    user = ["--user", f"{uid}:{gid}"]
    return ["--userns", "keep-id", *user] if engine.is_rootless else user


def _mount(path: Path, *, is_read_only: bool) -> str:
    """One line of CSV: a path can hold a comma."""
    fields = ["type=bind", f"source={path}", f"target={path}"] + (["readonly"] if is_read_only else [])
    return ",".join('"' + field.replace('"', '""') + '"' if set(field) & set(',"') else field for field in fields)
