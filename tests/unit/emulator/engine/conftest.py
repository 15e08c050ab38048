"""An engine without a machine behind it: the test plays the agent and the timers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.emulator import events, instructions, job_spec
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure, TaskOutcome
from snakemake_executor_azurebatch.emulator.engine import Engine
from snakemake_executor_azurebatch.emulator.model import Job, Node, Pool, Run, Task
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.wire import UNLIMITED, time_text

START = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = TaskFailure("usererror", "TaskEnded", "ended")


class World:
    """Holds the instructions that nobody has carried out yet."""

    def __init__(self) -> None:
        self.state = State()
        self.engine = Engine(self.state)
        self.now = START
        self.todo: list[instructions.Instruction] = []
        self.set_at: dict[int, datetime] = {}

    def feed(self, event: events.Event) -> list[instructions.Instruction]:
        """Apply an event a millisecond later, check the invariants, keep and answer the instructions."""
        self.now += timedelta(milliseconds=1)
        out = self.engine.handle(event, self.now)
        self.todo.extend(out)
        self.set_at.update({id(each): self.now for each in out})
        assert list(self.state.problems()) == []
        return out

    def take(self, kind: type) -> list:
        """Remove and answer the open instructions of a kind."""
        found = [instruction for instruction in self.todo if isinstance(instruction, kind)]
        self.todo = [instruction for instruction in self.todo if not isinstance(instruction, kind)]
        return found

    def take_due(self) -> list[instructions.After]:
        """Remove and answer the timers that fire at once."""
        found = [each for each in self.todo if isinstance(each, instructions.After) and each.delay_s == 0]
        self.todo = [each for each in self.todo if not any(each is other for other in found)]
        return found

    def pass_time(self, **delta: float) -> None:
        """Let every timer fire that is due until then, each at its moment; short ones at once."""
        end = self.now + timedelta(**delta)
        while due := [timer for timer in self.todo if isinstance(timer, instructions.After) and self.due(timer) <= end]:
            timer = min(due, key=self.due)
            self.now = max(self.now, self.due(timer))
            self.todo = [each for each in self.todo if each is not timer]
            self.feed(timer.event)
            self.settle()
        self.now = end

    def due(self, timer: instructions.After) -> datetime:
        """When a timer fires."""
        return self.set_at[id(timer)] + timedelta(seconds=timer.delay_s)

    def settle(self) -> None:
        """Let all short timers fire, nodes boot and close, and directories be removed."""
        kinds = (instructions.Later, instructions.BootNode, instructions.CloseNode, instructions.RemoveJobFiles)
        while ready := [*self.take_due(), *self.take(kinds)]:
            for instruction in ready:
                match instruction:
                    case instructions.After(_, event):
                        self.feed(event)
                    case instructions.Later(_, event):
                        self.feed(event)
                    case instructions.BootNode(pool_key, node_id):
                        self.feed(events.NodeStarting(pool_key, node_id))
                        self.feed(events.NodeReady(pool_key, node_id))
                    case instructions.CloseNode(pool_key, node_id):
                        self.feed(events.NodeGone(pool_key, node_id))
                    case instructions.RemoveJobFiles(job_key, _):
                        self.feed(events.JobFilesRemoved(job_key))

    def add_pool(
        self, pool_id: str = "p", *, nodes: int = 1, slots: int = 1, low: int = 0, fill: str = "Spread"
    ) -> Pool:
        """A pool, not yet settled."""
        wire = {
            "id": pool_id, "state": "active", "creationTime": time_text(self.now), "vmSize": "a",
            "allocationState": "resizing", "resizeTimeout": "PT15M", "taskSlotsPerNode": slots,
            "targetDedicatedNodes": nodes, "targetLowPriorityNodes": low,
            "taskSchedulingPolicy": {"nodeFillType": fill},
        }  # fmt: skip
        pool = Pool(pool_id, pool_id.lower(), wire)
        self.feed(events.PoolAdded(pool))
        return pool

    def add_job(self, job_id: str = "j", *, pool: str = "p", priority: int = 0, limit: int = -1, **more) -> Job:
        """A job."""
        body = {
            "priority": priority, "maxParallelTasks": limit, "poolInfo": {"poolId": pool},
            "usesTaskDependencies": True,
            "constraints": {"maxWallClockTime": more.pop("wall_clock", UNLIMITED)}, **more,
        }  # fmt: skip
        spec = job_spec.complete_specification(body)
        job, tasks = job_spec.new_job(self.state, self.now, job_id, spec, pool, {})
        self.feed(events.JobAdded(job, tasks))
        return job

    def add_tasks(self, job: Job, *task_ids: str, slots: int = 1, retries: int = 0, **more) -> list[Task]:
        """Tasks, in one collection."""
        limits = {"maxTaskRetryCount": retries, **more.pop("constraints", {})}
        bodies = [{"id": task_id, "requiredSlots": slots, "constraints": limits, **more} for task_id in task_ids]
        tasks = [job_spec.new_task(self.state, self.now, job, body) for body in bodies]
        self.feed(events.TasksAdded(job.key, tasks))
        return tasks

    def end(self, run: Run, exit_code: int | None = 0, failure: TaskFailure | None = None) -> None:
        """The agent's outcome of a run."""
        self.feed(events.RunEnded(run, TaskOutcome(exit_code, self.now, self.now, failure)))

    def started(self) -> list[str]:
        """Ids of the tasks that were started since the last question."""
        return [start.run.task_id for start in self.take(instructions.StartRun)]

    def nodes(self, pool_id: str = "p") -> list[Node]:
        """Nodes of a pool, oldest first."""
        return list(self.state.pools[pool_id].nodes.values())


@pytest.fixture
def world() -> Iterator[World]:
    """An empty account; the invariants hold at the end, too."""
    found = World()
    yield found
    assert list(found.state.problems()) == []


@pytest.fixture
def ready(world: World) -> World:
    """An account with a pool ``p`` of one idle node with two slots."""
    world.add_pool(slots=2)
    world.settle()
    return world
