"""Where things are on a node, and the environment of its tasks (pure but for resolving paths).

Source: the public documentation of Azure Batch, "Files and directories" and "Task runtime environment
variables".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .work import NodePlace, TaskWork, task_root_directory

#: What the root of a node holds. source: recorded exchange (listing of a node's files)
NODE_DIRECTORIES = ("applications", "fsmounts", "shared", "startup", "volatile", "workitems")

#: Mode of a resource file that names none. source: public documentation (ResourceFile.fileMode)
DEFAULT_FILE_MODE = 0o770

#: What a task may learn of the environment the service runs in: never its keys.
_PASSED_ON = ("LANG", "LC_ALL")
_FALLBACK_PATH = "/usr/local/bin:/usr/bin:/bin"
_RESERVED_DISK_BYTES = "1000000"

#: The home of the task's user on an Azure Batch node. A task in a container is told this one too, though it is not in
#: the container, and its user cannot make it. source: seen in public issues (nf-core/fetchngs#64)
CONTAINER_HOME = "/home/_azbatchtask_1"

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"weeks": 604_800.0, "days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0}
_UNLIMITED_S = 100 * 365 * 86_400.0


def inside(directory: Path, relative: str) -> Path:
    """The path that ``relative`` names in ``directory``. Raises ValueError where it is not below it."""
    base = directory.resolve()
    target = (base / relative).resolve()
    if not relative or Path(relative).is_absolute() or base not in target.parents:
        raise ValueError(f"{relative!r} is not a path below the working directory")
    return target


def file_mode(text: str | None) -> int:
    """Permission bits from an octal text; absent means 0770. Raises ValueError for anything else."""
    mode = int(text, 8) if text else DEFAULT_FILE_MODE
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{text!r} is not an octal file mode")
    return mode


def duration_s(text: str | None) -> float | None:
    """Seconds of an ISO 8601 duration; None where there is no limit (absent, or more than a century).

    Raises ValueError for a text that is no duration of weeks, days, hours, minutes and seconds.
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    total_s = sum(float(number) * _SECONDS[unit] for unit, number in match.groupdict().items() if number)
    return None if total_s > _UNLIMITED_S else total_s


def task_environment(place: NodePlace, work: TaskWork, service: Mapping[str, str], python: Path) -> dict[str, str]:
    """All variables of one task on the host, and nothing else.

    ``service`` is the environment the local service runs in and ``python`` its interpreter: without
    containers they stand for the image, so PATH starts with the interpreter's directory. The task's own
    settings override the job's; neither can override what the service sets.
    """
    wd = place.root / work.root_directory / "wd"
    environment = {name: service[name] for name in _PASSED_ON if service.get(name)}
    environment["PATH"] = f"{python.parent}:{service.get('PATH') or _FALLBACK_PATH}"
    environment["HOME"] = str(wd)
    user = service.get("USER") or service.get("LOGNAME") or "batch"
    environment["USER"] = environment["LOGNAME"] = user
    return environment | _settings(work) | batch_variables(place, work)


def container_environment(place: NodePlace, work: TaskWork) -> dict[str, str]:
    """What a task in a container gets beside what its image sets."""
    return {"HOME": CONTAINER_HOME} | _settings(work) | batch_variables(place, work)


def _settings(work: TaskWork) -> dict[str, str]:
    settings = (*work.common_environment, *(work.body.get("environmentSettings") or ()))
    return {str(setting["name"]): str(setting.get("value") or "") for setting in settings}


def batch_variables(place: NodePlace, work: TaskWork) -> dict[str, str]:
    """The documented AZ_BATCH_* variables of a task on this node."""
    directory = place.root / work.root_directory
    variables = {
        "AZ_BATCH_ACCOUNT_NAME": place.account_name,
        "AZ_BATCH_ACCOUNT_URL": place.account_url,
        "AZ_BATCH_NODE_ID": place.node_id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true" if place.is_dedicated else "false",
        "AZ_BATCH_NODE_MOUNTS_DIR": str(place.root / "fsmounts"),
        "AZ_BATCH_NODE_ROOT_DIR": str(place.root),
        "AZ_BATCH_NODE_SHARED_DIR": str(place.root / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(place.root / "startup"),
        "AZ_BATCH_POOL_ID": place.pool_id,
        "AZ_BATCH_TASK_DIR": str(directory),
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": _RESERVED_DISK_BYTES,
        "AZ_BATCH_TASK_WORKING_DIR": str(directory / "wd"),
    }
    if work.kind != "start":
        variables |= {"AZ_BATCH_JOB_ID": work.job_id, "AZ_BATCH_TASK_ID": work.task_id}
    prepared = preparation_directory(place, work)
    if prepared is not None:
        variables |= {"AZ_BATCH_JOB_PREP_DIR": str(prepared), "AZ_BATCH_JOB_PREP_WORKING_DIR": str(prepared / "wd")}
    return variables


def preparation_directory(place: NodePlace, work: TaskWork) -> Path | None:
    """The directory of the preparation task of this task's job; None where there is none for it to see."""
    if work.job_preparation_id is None or work.kind in ("start", "jobpreparation"):
        return None
    return place.root / task_root_directory(work.job_id, work.job_preparation_id)
