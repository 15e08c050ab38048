"""Which waiting task goes to which node.

Rules (source: public documentation of task slots, fill types and priorities): a node takes tasks while
their required slots fit into its own; ``Spread`` prefers the emptiest node, ``Pack`` the fullest one
with room; jobs of higher priority go first.

A node where the job's preparation task failed gets no task of the job; affinityInfo prefers a node.

Assumed where the documentation is silent: inside a job the oldest waiting task that fits goes first, so
a task with many slots may be overtaken by smaller ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from snakemake_executor_azurebatch.emulator.model import Job, Node, Pool, Task


def enqueue(job: Job, task: Task, ticket: int, *, first: bool = False) -> None:
    """Let an active task wait; ``ticket`` (rising) decides who is older."""
    task.ticket = ticket
    queue = job.waiting.setdefault(task.queue, deque())
    if first:
        queue.appendleft((task.key, ticket))
    else:
        queue.append((task.key, ticket))


def placements(pool: Pool, jobs: Iterable[Job]) -> Iterator[tuple[Job, Task, Node]]:
    """What to start now. The caller starts each before it asks for the next one."""
    if pool.wire["state"] != "active":
        return
    waiting = [job for job in jobs if job.waiting and job.state == "active"]
    for job in sorted(waiting, key=lambda job: (-job.wire["priority"], job.number)):
        yield from _of_job(pool, job)


def _of_job(pool: Pool, job: Job) -> Iterator[tuple[Job, Task, Node]]:
    is_pack = str(pool.wire["taskSchedulingPolicy"]["nodeFillType"]).lower() == "pack"
    nodes = list(pool.nodes.values())
    blocked: set[int] = set()
    while _may_run_more(job):
        room = max((node.free_slots for node in nodes), default=0)
        task = _oldest(job, room, blocked)
        if task is None:
            return
        node = _choose([node for node in nodes if _fits(node, job, task)], task, is_pack=is_pack)
        if node is None:  # the only room is where an earlier run of the same task still ends
            blocked.add(task.queue)
            continue
        _take(job, task)
        yield job, task, node


def _may_run_more(job: Job) -> bool:
    limit = job.wire["maxParallelTasks"]
    return bool(limit < 0 or sum(run.kind == "task" for run in job.runs.values()) < limit)


def _oldest(job: Job, room: int, blocked: set[int]) -> Task | None:
    heads = (_head(job, queue) for queue in list(job.waiting) if queue <= room and queue not in blocked)
    return min((task for task in heads if task), key=lambda task: task.ticket, default=None)


def _head(job: Job, number: int) -> Task | None:
    """The first task of a queue that really waits; outdated entries are dropped on the way."""
    queue = job.waiting[number]
    while queue:
        key, ticket = queue[0]
        task = job.tasks.get(key)
        if task and task.ticket == ticket and task.state == "active":
            return task
        queue.popleft()
    del job.waiting[number]
    return None


def _take(job: Job, task: Task) -> None:
    queue = job.waiting[task.queue]
    queue.popleft()
    if not queue:
        del job.waiting[task.queue]


def _fits(node: Node, job: Job, task: Task) -> bool:
    if node.free_slots < max(1, task.slots) or _is_busy_with(node, task):
        return False
    if task.is_exclusive and node.used_slots:
        return False
    return not is_barred(job, node) and (node.is_dedicated or not _wants_dedicated(job, task))


def is_barred(job: Job, node: Node) -> bool:
    """Whether the job's preparation task failed there since the node booted."""
    body = job.wire.get("jobPreparationTask")
    found = job.preparations.get(node.id) if body else None
    return bool(body and found and found.state == "failed" and body["waitForSuccess"] and found.boot == node.boot)


def _wants_dedicated(job: Job, task: Task) -> bool:
    manager = job.wire.get("jobManagerTask")
    return bool(manager and manager["id"].lower() == task.key and not manager["allowLowPriorityNode"])


def _choose(fitting: list[Node], task: Task, *, is_pack: bool) -> Node | None:
    wanted = task.wire.get("affinityInfo", {}).get("affinityId")
    for node in fitting:
        if node.wire["affinityId"] == wanted:
            return node
    if is_pack:
        return min(fitting, key=lambda node: (node.free_slots, node.number), default=None)
    return min(fitting, key=lambda node: (-node.free_slots, node.number), default=None)


def _is_busy_with(node: Node, task: Task) -> bool:
    return any(run.task_key == task.key and run.job_key == task.job_key for run in node.runs.values())
