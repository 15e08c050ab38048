"""``snakemake-azurebatch logs``: what a task has written to stdout and stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import EXIT_FAILED, err, fail

if TYPE_CHECKING:
    from azure.batch import BatchClient

EPILOG = (
    "Examples: `snakemake-azurebatch logs align`, `snakemake-azurebatch logs align-sample1 --follow`, "
    "`snakemake-azurebatch logs --json TASK`, `snakemake-azurebatch logs align --last 1`."
)
EXIT_SEVERAL = 3
STREAMS = ("stdout.txt", "stderr.txt")
LISTED = 30
_PAUSE_S = 1.0
#: The node has no such file yet, the task no node, or both are gone.
_NO_FILE = ("FileNotFound", "OperationInvalidForCurrentState", "NodeNotFound", "TaskFilesUnavailable")


@dataclass(frozen=True, slots=True)
class Match:
    """A task that is meant. ``rule`` is empty while it has not ended."""

    task: str
    rule: str
    batch_job: str
    state: str


def logs(  # noqa: PLR0913 (one parameter per option)
    name: Annotated[str, typer.Argument(metavar="RULE|TASK", help="Name of a rule, id of a task, or part of one.")],
    workdir: account.Workdir = Path(),
    account_url: account.AccountUrl = None,
    storage_account: account.StorageAccount = None,
    profile: account.Profile = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task has ended.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Of several that match, take the one that ended last.")] = False,
    as_json: account.AsJson = False,
) -> None:
    """Show stdout and stderr of a task: saved ones of this folder, else from its node, as long as that has them.

    Exit code 1: there is none, or no answer; 3: several match, and are listed.
    """
    found = matching(name, _ended(workdir))
    saved = _saved(workdir, found[-1].task) if found and (len(found) == 1 or last) else {}
    if saved and not follow:
        _show(found[-1], saved, as_json)
        return
    from snakemake_executor_azurebatch import clients

    wanted = account.workdir_id(workdir)
    accounts = account.find_accounts(account_url, storage_account, profile)
    with account.told(), clients.batch_client(accounts.account) as client:
        live = matching(name, _alive(client, wanted))
        chosen = _one(name, live or found, last=last, as_json=as_json)
        if follow and not as_json:
            _follow(client, chosen)
        else:
            _show(chosen, {stream: _read(client, chosen, stream, 0) for stream in STREAMS}, as_json)


def matching(name: str, tasks: Iterable[Match]) -> list[Match]:
    """Those of that id; else of that rule; else those with ``name`` in their id. Each task once."""
    known = list({task.task: task for task in tasks}.values())
    exact = [task for task in known if task.task == name]
    of_rule = [task for task in known if task.rule == name or (not task.rule and task.task.startswith(f"{name}-"))]
    return exact or of_rule or [task for task in known if name in task.task]


def _ended(workdir: Path) -> list[Match]:
    from snakemake_executor_azurebatch.run.records import FILE, read_records

    try:
        rows = list(read_records(workdir / account.STATE / FILE))
    except OSError:
        return []
    return [Match(row["task"], row["rule"], row["batch_job"], row["outcome"]) for row in rows]


def _alive(client: BatchClient, workdir_id: str) -> list[Match]:
    from snakemake_executor_azurebatch.errors import service
    from snakemake_executor_azurebatch.run.inventory import jobs_of

    found: list[Match] = []
    for job in jobs_of(client, workdir_id):
        if job.state == "completed":
            continue
        with service(f"listing tasks of {job.job_id}"):
            open_tasks = list(client.list_tasks(job.job_id, filter=account.OPEN_TASKS, select=["id", "state"]))
        found += [
            Match(str(task.id), "", job.job_id, str(getattr(task.state, "value", task.state))) for task in open_tasks
        ]
    return found


def _one(name: str, found: list[Match], *, last: bool, as_json: bool) -> Match:
    if not found:
        fail(f"No task {name!r} of this working directory is known.")
    if len(found) == 1 or last:
        return found[-1]
    if as_json:
        typer.echo(json.dumps([{"task": one.task, "state": one.state} for one in found], indent=2))
    else:
        err.print(f"{len(found)} tasks match {name!r}: name one of them, or take the last with --last.", markup=False)
        for one in found[-LISTED:]:
            err.print(f"  {one.task}  {one.state}", markup=False)
        if len(found) > LISTED:
            err.print(f"  ... and {len(found) - LISTED} older ones")
    raise typer.Exit(EXIT_SEVERAL)


def _saved(workdir: Path, task: str) -> dict[str, bytes | None]:
    folder = workdir / account.STATE / "logs" / task
    return {name: (folder / name).read_bytes() for name in STREAMS if (folder / name).is_file()}


def _show(task: Match, streams: dict[str, bytes | None], as_json: bool) -> None:
    if all(data is None for data in streams.values()):
        fail(
            f"Neither this folder nor a node has what task {task.task} ({task.state}) has written. Of tasks that "
            "succeeded, it goes with their node or Batch job; name a log: in the rule to keep more."
        )
    if as_json:
        texts = {name: None if data is None else data.decode(errors="replace") for name, data in streams.items()}
        typer.echo(json.dumps({"task": task.task, "state": task.state, "batch_job": task.batch_job, **texts}, indent=2))
        return
    for name, data in streams.items():
        err.print(f"--- {task.task}: {name} ({len(data or b'')} bytes)", markup=False)
        sys.stdout.buffer.write(data or b"")
        sys.stdout.buffer.flush()


def _read(client: BatchClient, task: Match, stream: str, start: int) -> bytes | None:
    """From a position on; empty where nothing has been added, None where there is no such file (any more)."""
    from snakemake_executor_azurebatch.errors import NotFound, ServiceError, service

    try:
        with service(f"reading {stream} of task {task.task}"):
            size_bytes = client.get_task_file_properties(task.batch_job, task.task, stream).content_length
            if size_bytes <= start:
                return b""
            ocp_range = f"bytes={start}-{size_bytes - 1}"
            return b"".join(client.download_task_file(task.batch_job, task.task, stream, ocp_range=ocp_range))
    except NotFound:
        return None
    except ServiceError as error:
        if error.status == 409 or error.code in _NO_FILE:
            return None
        raise


def _follow(client: BatchClient, task: Match) -> None:
    """Until the task has ended, or Ctrl-C: stdout to stdout, stderr to stderr."""
    shown = dict.fromkeys(STREAMS, 0)
    try:
        while True:
            has_ended = _has_ended(client, task)
            for name, target in zip(STREAMS, (sys.stdout.buffer, sys.stderr.buffer), strict=True):
                data = _read(client, task, name, shown[name]) or b""
                target.write(data)
                target.flush()
                shown[name] += len(data)
            if has_ended:
                return
            time.sleep(_PAUSE_S)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_FAILED) from None


def _has_ended(client: BatchClient, task: Match) -> bool:
    from snakemake_executor_azurebatch.errors import NotFound, service

    try:
        with service(f"looking at task {task.task}"):
            return bool(client.get_task(task.batch_job, task.task, select=["id", "state"]).state == "completed")
    except NotFound:
        return True
