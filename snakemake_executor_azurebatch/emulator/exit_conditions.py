"""What the end of a task means for its dependents and its job (pure).

Lookup order (source: public documentation of exitConditions): exact exit codes, ranges of exit codes, an
error before the command, a failed upload, the default. Exit code 0 is affected only where it is listed.

Assumed: a task that was ended by a request is looked up as one with its exit code, else as the default.
"""

from __future__ import annotations

from dataclasses import dataclass

from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.wire import Json


@dataclass(frozen=True, slots=True)
class ExitOptions:
    """``job_action``: none, disable or terminate. ``satisfies``: whether dependents may start."""

    job_action: str
    satisfies: bool


def exit_options(conditions: Json | None, outcome: TaskOutcome) -> ExitOptions:
    """The options for this outcome, with the documented defaults for what is not said."""
    said = _lookup(conditions or {}, outcome) or {}
    is_good = outcome.succeeded
    return ExitOptions(
        said.get("jobAction", "none" if is_good else "terminate"),
        said.get("dependencyAction", "satisfy" if is_good else "block") == "satisfy",
    )


def all_options(conditions: Json | None) -> list[Json]:
    """Every set of options in the conditions."""
    given = conditions or {}
    listed = [entry["exitOptions"] for name in ("exitCodes", "exitCodeRanges") for entry in given.get(name) or ()]
    return [*listed, *(given[name] for name in ("preProcessingError", "fileUploadError", "default") if name in given)]


def _lookup(conditions: Json, outcome: TaskOutcome) -> Json | None:
    by_code = _by_exit_code(conditions, outcome.exit_code)
    if by_code is not None or outcome.succeeded:
        return by_code
    code = outcome.failure.code if outcome.failure else ""
    if code.startswith("FileUpload") and "fileUploadError" in conditions:
        return dict(conditions["fileUploadError"])
    if outcome.exit_code is None and code != "TaskEnded" and "preProcessingError" in conditions:
        return dict(conditions["preProcessingError"])
    return conditions.get("default")


def _by_exit_code(conditions: Json, exit_code: int | None) -> Json | None:
    if exit_code is None:
        return None
    for entry in conditions.get("exitCodes") or ():
        if entry["code"] == exit_code:
            return dict(entry["exitOptions"])
    for entry in conditions.get("exitCodeRanges") or ():
        if entry["start"] <= exit_code <= entry["end"]:
            return dict(entry["exitOptions"])
    return None
