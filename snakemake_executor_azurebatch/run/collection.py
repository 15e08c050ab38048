"""Creates the tasks of one collection: what is too large is split, what fails for now is sent again, item by item.

The SDK's own ``create_tasks`` sends a collection again without end and without a pause while the service answers 5xx
(seen with azure-batch 15.1), so its call for one request is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.run.patience import BRIEF, OutOfPatience, Patience, Trying, is_passing
from snakemake_executor_azurebatch.run.wire import taking
from snakemake_executor_azurebatch.tasks import Task

if TYPE_CHECKING:
    from azure.batch import BatchClient

TOO_LARGE = "RequestBodyTooLarge"


def create_all(
    client: BatchClient, batch_job_id: str, tasks: Sequence[Task], patience: Patience
) -> dict[str, ServiceError]:
    """Create up to 100 tasks; the ids of those that were not created, with the reason. Never raises for Azure.

    A task that exists already is ours: ids are unique in the run's own Batch job, and a request may be repeated
    after its answer was lost.
    """
    refused: dict[str, ServiceError] = {}
    parts = deque([list(tasks)])
    with patience.trying() as trying:
        while parts:
            part = parts.popleft()
            try:
                results = patience(partial(_create, client, batch_job_id, part))
            except ServiceError as error:
                if error.code == TOO_LARGE and len(part) > 1:
                    middle = len(part) // 2
                    parts.extendleft((part[middle:], part[:middle]))
                else:
                    refused |= {str(task["id"]): error for task in part}
                continue
            failed = _failed(results)
            busy = {key: error for key, error in failed.items() if is_passing(error)}
            refused |= {key: error for key, error in failed.items() if key not in busy}
            if not busy:
                trying.worked()
            elif (last := _rest(patience, trying, busy)) is None:
                parts.appendleft([task for task in part if task["id"] in busy])
            else:
                refused |= dict.fromkeys(busy, last)
    return refused


def _rest(patience: Patience, trying: Trying, busy: Mapping[str, ServiceError]) -> ServiceError | None:
    """Wait until these are to be sent again; where they are not, the reason."""
    error = next(iter(busy.values()))
    try:
        return error if patience.rest(trying.failed(error)) else None
    except OutOfPatience as out:
        return out


def _create(client: BatchClient, batch_job_id: str, part: list[Task]) -> list[dict[str, Any]]:
    """One request; what became of each task. Raises ServiceError."""
    group: Any = {"value": part}  # declared as a model, written as JSON
    rows: list[dict[str, Any]] = []
    with service(f"submitting {len(part)} tasks"):
        client.create_task_collection(batch_job_id, group, **BRIEF, **taking(rows))
    return rows


def _failed(results: Sequence[Mapping[str, Any]]) -> dict[str, ServiceError]:
    """What was not created, by id. The service's spelling of the status differs from its documentation's."""
    failed = {}
    for item in results:
        status, error = str(item.get("status")).lower(), item.get("error") or {}
        code = error.get("code") or "no code"
        if status == "success" or code == "TaskExists":
            continue
        text = (error.get("message") or {}).get("value") or "no reason given"
        is_busy = status == "servererror"
        failed[str(item["taskId"])] = ServiceError(
            f"the service refused the task: {code}: {text}", code, 503 if is_busy else 400
        )
    return failed
