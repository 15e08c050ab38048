"""Creates the tasks of one collection: what is too large is split, what fails for now is sent again, item by item.

The SDK's own ``create_tasks`` sends a collection again without end and without a pause while the service answers 5xx
(seen with azure-batch 15.1), so its call for one request is used.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.run.patience import BRIEF, LONGEST_PAUSE_S, Patience

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

    Tasks = Sequence[models.BatchTaskCreateOptions]
    Results = Sequence[models.BatchTaskCreateResult]

TOO_LARGE = "RequestBodyTooLarge"
#: How often a task is sent that the service has no time for, though it answers: with pauses, two minutes in all.
TIMES_AT_MOST = 8


def create_all(client: BatchClient, batch_job_id: str, tasks: Tasks, patience: Patience) -> dict[str, ServiceError]:
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
                refused |= {str(task.id): error for task in part}
            continue
        failed = _failed(results)
        tries.update(failed)
        busy = {key for key, error in failed.items() if error.status >= 500 and tries[key] < TIMES_AT_MOST}
        refused |= {key: error for key, error in failed.items() if key not in busy}
        if busy:
            patience.rest(min(2.0 ** max(tries[key] - 1 for key in busy), LONGEST_PAUSE_S))
            parts.appendleft([task for task in part if task.id in busy])
    return refused


def _create(client: BatchClient, batch_job_id: str, part: list[models.BatchTaskCreateOptions]) -> Results:
    """One request. Raises ServiceError."""
    from azure.batch.models import BatchTaskGroup

    with service(f"submitting {len(part)} tasks"):
        group = BatchTaskGroup(task_values=part)
        return client.create_task_collection(batch_job_id, group, **BRIEF).result_values or []


def _failed(results: Results) -> dict[str, ServiceError]:
    """What was not created, by id. The service's spelling of the status differs from the SDK's."""
    failed = {}
    for item in results:
        status = str(getattr(item.status, "value", item.status)).lower()
        code = (item.error.code if item.error else None) or "no code"
        if status == "success" or code == "TaskExists":
            continue
        text = item.error.message.value if item.error and item.error.message else "no reason given"
        is_busy = status == "servererror"
        failed[str(item.task_id)] = ServiceError(
            f"the service refused the task: {code}: {text}", code, 503 if is_busy else 400
        )
    return failed
