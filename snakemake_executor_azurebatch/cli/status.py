"""``snakemake-azurebatch status``: pools, nodes, Batch jobs and tasks of this workdir."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from snakemake_executor_azurebatch.cli import account
from snakemake_executor_azurebatch.cli.common import out

if TYPE_CHECKING:
    from azure.batch import BatchClient

EPILOG = (
    "Examples: `snakemake-azurebatch status`, `snakemake-azurebatch status --once`, "
    "`snakemake-azurebatch status --json`, `snakemake-azurebatch status --profile profiles/azure`."
)
NO_NODES: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class JobState:
    """A Batch job, and how many of its tasks are in which state."""

    job: str
    state: str
    pool: str
    created: str
    tasks: dict[str, int]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool, and how many of its nodes are in which state. ``state`` is ``gone`` where there is no such pool."""

    pool: str
    state: str
    size: str
    target_nodes: int
    nodes: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task that has not ended."""

    task: str
    state: str
    node: str
    since: str


@dataclass(frozen=True, slots=True)
class State:
    """What is there now."""

    jobs: list[JobState]
    pools: list[PoolState]
    tasks: list[TaskState]


def status(  # noqa: PLR0913 (one parameter per option)
    workdir: account.Workdir = Path(),
    account_url: account.AccountUrl = None,
    storage_account: account.StorageAccount = None,
    profile: account.Profile = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once; so it is without a terminal, too.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks.")] = 5.0,
    as_json: account.AsJson = False,
) -> None:
    """Show pools, nodes, Batch jobs and tasks of this working directory: what is active, or was last.

    Exit code 0: shown, 1: no account, no answer, or no run was started here.
    """
    from snakemake_executor_azurebatch import clients

    wanted = account.workdir_id(workdir)
    accounts = account.find_accounts(account_url, storage_account, profile)
    with account.told(), clients.batch_client(accounts.account) as client:
        now = look(client, wanted)
        if as_json:
            typer.echo(json.dumps(asdict(now), indent=2))
        elif once or not out.is_terminal:
            out.print(_shown(now, out), soft_wrap=False)
        else:
            _live(client, wanted, now, every_s)


def look(client: BatchClient, workdir_id: str) -> State:
    """The active Batch jobs of a workdir, else its last one, with their pools and tasks. Raises ServiceError."""
    from snakemake_executor_azurebatch.run.inventory import jobs_of

    jobs = jobs_of(client, workdir_id)
    chosen = [job for job in jobs if job.state != "completed"] or jobs[:1]
    states = [
        JobState(job.job_id, job.state, job.pool_id, _iso(job.created), _task_counts(client, job.job_id))
        for job in chosen
    ]
    pools = [_pool(client, pool_id) for pool_id in dict.fromkeys(job.pool for job in states) if pool_id]
    tasks = [task for job in states if job.state != "completed" for task in _tasks(client, job.job)]
    return State(states, pools, tasks)


def _task_counts(client: BatchClient, job_id: str) -> dict[str, int]:
    from snakemake_executor_azurebatch.errors import service

    with service(f"counting tasks of {job_id}"):
        counts = client.get_job_task_counts(job_id).task_counts
    names = ("active", "running", "succeeded", "failed")
    return {name: int(getattr(counts, name) or 0) for name in names}


def _pool(client: BatchClient, pool_id: str) -> PoolState:
    from snakemake_executor_azurebatch.errors import NotFound, service

    try:
        with service(f"looking at pool {pool_id}"):
            pool = client.get_pool(pool_id)
            nodes = Counter(_word(node.state) for node in client.list_nodes(pool_id, select=["id", "state"]))
    except NotFound:
        return PoolState(pool_id, "gone", "", 0, NO_NODES)
    target = (pool.target_dedicated_nodes or 0) + (pool.target_low_priority_nodes or 0)
    state = f"{_word(pool.state)}, {_word(pool.allocation_state)}"
    return PoolState(pool_id, state, str(pool.vm_size), target, dict(nodes))


def _tasks(client: BatchClient, job_id: str) -> list[TaskState]:
    from snakemake_executor_azurebatch.errors import service

    select = ["id", "state", "stateTransitionTime", "nodeInfo"]
    with service(f"listing tasks of {job_id}"):
        found = list(client.list_tasks(job_id, filter=account.OPEN_TASKS, select=select))
    return [
        TaskState(
            *(str(task.id), _word(task.state)),
            str(task.node_info.node_id or "") if task.node_info else "",
            _iso(task.state_transition_time),
        )
        for task in found
    ]


def _word(value: Any) -> str:  # noqa: ANN401 (an enumeration of the SDK, or text that it does not know)
    return str(getattr(value, "value", value) or "")


def _iso(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


def _live(client: BatchClient, workdir_id: str, now: State, every_s: float) -> None:
    """Until Ctrl-C, or until nothing is active any more."""
    try:
        with Live(_shown(now, out), console=out, auto_refresh=False) as live:
            while any(job.state != "completed" for job in now.jobs):
                time.sleep(every_s)
                now = look(client, workdir_id)
                live.update(_shown(now, out), refresh=True)
    except KeyboardInterrupt:
        return


def _shown(now: State, console: Console) -> Group:
    if not now.jobs:
        return Group(Text("No Batch job of this working directory is in the account."))
    parts: list[Text | Table] = [
        Text(f"Batch job {job.job}: {job.state}\n  tasks: {_counts(job.tasks)}") for job in now.jobs
    ]
    for pool in now.pools:
        nodes = f"{pool.size}, {pool.target_nodes} wanted, nodes: {_counts(pool.nodes)}" if pool.size else ""
        parts.append(Text(f"Pool {pool.pool}: {pool.state}\n  {nodes}".rstrip()))
    if now.tasks:
        parts.append(_table(now.tasks[: max(5, console.height - 10)]))
        parts.append(Text(f"{len(now.tasks)} tasks have not ended."))
    return Group(*parts)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _table(tasks: list[TaskState]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=True)
    for task in tasks:
        table.add_row(Text(task.task), task.state, task.since[11:])
    return table
