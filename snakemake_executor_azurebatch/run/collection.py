"""Creates the tasks of one collection: what is too large is split, what fails for now is sent again, item by item.

The SDK's own ``create_tasks`` sends a collection again without end and without a pause while the service answers 5xx
(seen with azure-batch 15.1), so its call for one request is used.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.run.patience import BRIEF, LONGEST_PAUSE_S, Patience
from snakemake_executor_azurebatch.run.wire import taking
from snakemake_executor_azurebatch.tasks import Task

if TYPE_CHECKING:
    from azure.batch import BatchClient

TOO_LARGE = "RequestBodyTooLarge"
#: How often a task is sent that the service has no time for, though it answers: with pauses, two minutes in all.
TIMES_AT_MOST = 8


def create_all(
    client: BatchClient, batch_job_id: str, tasks: Sequence[Task], patience: Patience
) -> dict[str, ServiceError]:
    """Create up to 100 tasks; the ids of those that were not created, with the reason. Never raises for Azure.

    A task that exists already is ours: ids are unique in the run's own Batch job, and a request may be repeated
    after its answer was lost.
    """
    refused: dict[str, ServiceError] = {}
    tries: Counter[str] = Counter()
    parts = deque([list(tasks)])
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
        tries.update(failed)
        busy = {key for key, error in failed.items() if error.status >= 500 and tries[key] < TIMES_AT_MOST}
        refused |= {key: error for key, error in failed.items() if key not in busy}
        if busy:
            patience.rest(min(2.0 ** max(tries[key] - 1 for key in busy), LONGEST_PAUSE_S))
            parts.appendleft([task for task in part if task["id"] in busy])
    return refused


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
