"""One turn of the engine, and what pools and jobs both need: placing tasks and ending runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from snakemake_executor_azurebatch.emulator import engine_preparation, placement
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure, TaskKind, TaskOutcome, task_root_directory
from snakemake_executor_azurebatch.emulator.events import RunEnded
from snakemake_executor_azurebatch.emulator.instructions import After, Instruction, StartRun, StopRun
from snakemake_executor_azurebatch.emulator.model import Ending, Job, Node, Run, Task
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.wire import Json, time_text

#: What a task that was ended from outside shows (source: public documentation for the code).
TASK_ENDED = TaskFailure("usererror", "TaskEnded", "Task Was Ended by User Request")

_STRENGTH = {Ending.REQUEUE: 0, Ending.TERMINATE: 1, Ending.DROP: 2}


class Turn:
    """The state, the moment, and the instructions so far."""

    def __init__(self, state: State, now: datetime) -> None:
        self.state = state
        self.now = now
        self.stamp = time_text(now)
        self.out: list[Instruction] = []

    def move(self, wire: Json, state: str) -> None:
        """Give a job or task another state and remember the one before."""
        wire["previousState"] = wire["state"]
        wire["previousStateTransitionTime"] = wire["stateTransitionTime"]
        wire["state"] = state
        wire["stateTransitionTime"] = self.stamp

    def place(self, pool_key: str) -> None:
        """Start whatever fits into the pool now."""
        pool = self.state.pools.get(pool_key)
        if pool:
            jobs = self.state.jobs_of_pool.get(pool_key, {}).values()
            for job, task, node in placement.placements(pool, jobs):
                self._start(job, task, node)

    def wait(self, job: Job, task: Task, *, first: bool = False) -> None:
        """Let an active task wait for a node."""
        placement.enqueue(job, task, self.state.number(), first=first)

    def add_tasks(self, job: Job, tasks: Sequence[Task]) -> None:
        """Let new tasks wait: for others, or for a node."""
        for task in tasks:
            job.tasks[task.key] = task
            job.open_tasks += 1
            if job.dependencies.wait(task.key, task.wire.get("dependsOn")):
                self.wait(job, task)
        job.order = None

    def stop(self, run: Run, ending: Ending) -> None:
        """Ask for the end of a run, once. The stronger of two reasons counts: a task that is being
        requeued and then terminated does not come back.
        """
        if run.ending is None and run.is_held:  # nobody runs it yet
            self.out.append(After(0.0, RunEnded(run, TaskOutcome(None, self.now, self.now, TASK_ENDED))))
        elif run.ending is None:
            self.out.append(StopRun(run))
        if run.ending is None or _STRENGTH[ending] > _STRENGTH[run.ending]:
            run.ending = ending
            self.state.runs.touch(run.number)

    def show_node(self, node: Node) -> None:
        """Bring what the node shows up to date with its runs."""
        node.used_slots = sum(run.slots for run in node.runs.values())
        node.wire["runningTasksCount"] = sum(run.kind == "task" for run in node.runs.values())
        node.wire["runningTaskSlotsCount"] = node.used_slots
        if node.wire["state"] in ("idle", "running", "offline"):
            is_enabled = node.wire["schedulingState"] == "enabled"
            self.move_node(node, "running" if node.runs else "idle" if is_enabled else "offline")

    def move_node(self, node: Node, state: str) -> None:
        """Give a node another state."""
        if node.wire["state"] != state:
            self.state.node(node.pool_key, node.id)  # noted as changed
            node.wire["state"] = state
            node.wire["stateTransitionTime"] = self.stamp

    def new_run(self, job: Job, node: Node, task_id: str, kind: TaskKind, slots: int = 0) -> Run:
        """A run on a node, known to everybody who has to know."""
        run = Run(self.state.number(), job.id, task_id, node.pool_key, node.id, slots, kind=kind)
        job.runs[run.number] = node.runs[run.number] = self.state.runs[run.number] = run
        self.state.jobs.touch(job.key)  # placement walks over them, so nothing else says that they change
        self.state.pools[node.pool_key].nodes.touch(node.id)
        return run

    def forget_run(self, job: Job | None, node: Node, run: Run) -> None:
        """The run has ended."""
        del self.state.runs[run.number]
        del node.runs[run.number]
        if job:
            job.runs.pop(run.number, None)
        self.show_node(node)

    def begin(self, job: Job, task: Task, run: Run) -> None:
        """Let a task that has its place run there."""
        run.is_held = False
        self.move(task.wire, "running")
        task.wire["executionInfo"]["startTime"] = self.stamp
        self.out.append(StartRun(run, task, job))

    def _start(self, job: Job, task: Task, node: Node) -> None:
        slots = node.slots if task.is_exclusive else task.slots
        run = task.run = self.new_run(job, node, task.id, "task", slots)
        for name in ("startTime", "endTime", "exitCode", "result", "failureInfo", "containerInfo"):
            task.wire["executionInfo"].pop(name, None)
        task.wire["nodeInfo"] = {
            "affinityId": node.wire["affinityId"],
            "poolId": self.state.pools[node.pool_key].id,
            "nodeId": node.id,
            "taskRootDirectory": task_root_directory(job.id, task.id),
        }
        run.is_held = engine_preparation.must_wait(self, job, node)
        if run.is_held:
            self.move(task.wire, "preparing")
        else:
            self.begin(job, task, run)
        self.show_node(node)
