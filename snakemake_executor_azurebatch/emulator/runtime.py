"""Carries out what the engine instructs - node agents, timers, files - and feeds what happens back to it.

Everything runs in one event loop; the state is touched by nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.emulator import events, instructions, tasklog
from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskFailure, TaskOutcome, TaskWork
from snakemake_executor_azurebatch.emulator.clock import ServiceClock
from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.engine import Engine
from snakemake_executor_azurebatch.emulator.events import Event
from snakemake_executor_azurebatch.emulator.faultinjection import FaultInjection
from snakemake_executor_azurebatch.emulator.instructions import Instruction
from snakemake_executor_azurebatch.emulator.job_spec import with_registry
from snakemake_executor_azurebatch.emulator.machines import Machines
from snakemake_executor_azurebatch.emulator.model import Ending
from snakemake_executor_azurebatch.emulator.persistence import StateStore, StateUnreadable, put_aside
from snakemake_executor_azurebatch.emulator.simulation import SimulatedAgent
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.wire import Json

log = logging.getLogger(__name__)

#: What nobody asked for is written after so long at the latest; what was asked for, before the answer.
_SAVE_PAUSE_S = 0.05
_SWEEP_PAUSE_S = 0.25
_ENDED = TaskFailure("usererror", "TaskEnded", "Task Was Ended by User Request")


@dataclass(frozen=True, slots=True)
class Timings:
    """How long transitions take. Azure takes minutes for some of them."""

    boot_s: float = 0.2  #: from creating to idle
    settle_s: float = 0.03  #: how long a transitional state of a job is shown at least
    resize_s: float = 0.03  #: how long a pool is resizing or stopping at least: from the request to its nodes
    restart_s: float = 0.2  #: how long a node is rebooting, reimaging or deallocating
    replace_s: float = 0.2  #: until a preempted node returns, or another takes the place of a lost one
    all_complete_s: float = 0.1  #: from the last task's end to the end of its job (onAllTasksComplete)


class Runtime:
    """The living part of one local service. ``account_url`` is what tasks are told (AZ_BATCH_ACCOUNT_URL)."""

    def __init__(self, config: ServiceConfig, *, timings: Timings | None = None) -> None:
        self.config = config
        self.account_url = ""
        #: Told of every run of a task that has ended: when, and what it took.
        self.note_run: Callable[[datetime, Json], None] = lambda moment, entry: None
        self.state = State()
        self.clock = ServiceClock(config.clock_speed)
        self.injection = FaultInjection()
        self._engine = Engine(self.state)
        self._timings = timings or Timings()
        self._machines = Machines(self, self._timings)
        self._agents = self._machines.agents
        self._doing: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._noted: set[str] = set()
        self._store: StateStore | None = None
        self._numbers = count(1)
        self._saving: asyncio.TimerHandle | None = None
        self._sweeps_left = 0

    def dispatch(self, event: Event) -> None:
        """Apply an event now and carry out what follows."""
        for instruction in self._engine.handle(event, self.clock.now()):
            self._carry_out(instruction)
        self._save_soon()

    # -- what survives a restart ------------------------------------------------------------------

    def open_store(self) -> None:
        """Remember everything in the state directory, and recall what was remembered there."""
        path = self.config.state_file
        try:
            self._store = StateStore(path, self.state)
            last = self._store.load()
        except StateUnreadable as error:
            if self._store is not None:
                self._store.close()
            log.warning("the former state cannot be used (%s); it is kept as %s", error, put_aside(path))
            self.state = State()
            self._engine = Engine(self.state)
            self._store = StateStore(path, self.state)
            last = None
        if last is not None:  # the clock was ahead of the world: it does not go back
            self.clock.advance(max(0.0, (last - self.clock.now()).total_seconds()))

    def resume(self) -> None:
        """Go on where a former service ended: its nodes come back, what it had running is requeued.

        Call once, when tasks can reach the service and its blobs.
        """
        if self._store is None:
            return
        for pool in self.state.pools.values():
            for node in pool.nodes.values():
                self._agents[node.pool_key, node.id] = self._machines.new_agent(node)
        unfinished = sorted(self._store.pending.items())
        self._store.pending.clear()
        self._store.pending.touched.update(number for number, _ in unfinished)
        for pool_key in list(self.state.allocation_faults):  # injected faults end with the service
            self.dispatch(events.AllocationFaultSet(pool_key, None))
        self._numbers = count(max((number for number, _ in unfinished), default=0) + 1)
        for _, (due, instruction) in unfinished:
            if isinstance(instruction, instructions.After):
                left_s = max(0.0, (due - self.clock.now()).total_seconds())
                self._carry_out(instructions.After(left_s, instruction.event))
            else:
                self._carry_out(instruction)
        # their processes ended with the former service; what tasks wait for on their nodes goes first
        for run in sorted(self.state.runs.values(), key=lambda run: run.kind == "task"):
            run.ending = run.ending or Ending.REQUEUE
            now = self.clock.now()
            self.dispatch(events.RunEnded(run, TaskOutcome(None, now, now, _ENDED)))
        self.save()

    def save(self) -> None:
        """Write what has changed, so that a restart cannot take back what somebody has seen."""
        if self._store is not None and not self._is_closing:
            try:
                self._store.save(self.clock.now())
            except sqlite3.Error:
                log.exception("the state could not be saved")

    def only_read(self) -> None:
        """What was handed out since the last save was not changed."""
        if self._store is not None:
            self._store.forget_touches()

    def _save_soon(self) -> None:
        self._sweeps_left = 2
        if self._store is not None and self._saving is None and not self._is_closing:
            self._saving = asyncio.get_running_loop().call_later(_SAVE_PAUSE_S, self._save_now)

    def _save_now(self) -> None:
        self._saving = None
        self.save()
        if self._store is not None and not self._store.sweep():
            self._sweeps_left -= 1
        if self._sweeps_left > 0 and not self._is_closing:
            self._saving = asyncio.get_running_loop().call_later(_SWEEP_PAUSE_S, self._save_now)

    # -- nodes ------------------------------------------------------------------------------------

    @property
    def containers(self) -> ContainerRuntime | None:
        """What tasks with container settings run in; None: they are processes."""
        return self._machines.containers

    def use_containers(self, containers: ContainerRuntime) -> None:
        """Run tasks with container settings in ``containers`` from now on."""
        self._machines.containers = containers

    def new_agent(self, place: NodePlace, containers: ContainerRuntime | None) -> NodeAgent:
        """An agent for a node, as this service was started: real or simulated, broken or not."""
        if self.config.simulate_s is None:
            agent = NodeAgent(place, containers)
        else:
            agent = SimulatedAgent(place, self.clock, self.config.simulate_s)
        self._show_faults(agent)
        return agent

    def show_node_faults(self) -> None:
        """Break or mend all nodes as the injected faults say now."""
        for agent in self._agents.values():
            self._show_faults(agent)

    def _show_faults(self, agent: NodeAgent) -> None:
        here = self.injection.of_node(agent.place.pool_id, agent.place.node_id)
        names = [name.replace("-", "_") for name in ("disk-full", "blob-unreachable") if name in here]
        agent.set_fault(names[0] if names else None)
        agent.set_failure(self.injection.code_of_node(agent.place.pool_id, agent.place.node_id))

    def note_once(self, what: str) -> None:
        """Tell the service's log something, the first time only."""
        if what not in self._noted:
            self._noted.add(what)
            log.warning(what)

    def node_root(self, pool_id: str, node_id: str) -> Path:
        """Root directory of a node, whether it is there or not."""
        return self.config.nodes_dir / pool_id / node_id

    async def close(self) -> None:
        """End every task of every node, and every timer. They go on after a restart."""
        self.save()
        self._is_closing = True
        if self._saving is not None:
            self._saving.cancel()
        await asyncio.gather(*(agent.close() for agent in self._agents.values()))
        for task in self._doing:
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case instructions.Later() | instructions.After():
                self._do(self._feed(instruction), instruction)
            case (
                instructions.BootNode()
                | instructions.StopNode()
                | instructions.RunStartTask()
                | instructions.CloseNode()
            ):
                self._do(self._machines.carry_out(instruction), instruction)
            case instructions.StartRun() | instructions.StartJobTask():
                self._do(self._run(instruction), instruction)
            case instructions.StopRun(run):
                self._agents[(run.pool_key, run.node_id)].terminate(run.job_id, run.task_id, run.kind)
            case instructions.RemoveTaskFiles():
                self._remove(instruction)
            case instructions.RemoveJobFiles():
                self._do(self._remove_job(instruction), instruction)

    def _do(self, work: Coroutine[Any, Any, None], instruction: Instruction) -> None:
        number = self._note_pending(instruction)
        task = asyncio.get_running_loop().create_task(self._to_its_end(work, number))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    def _note_pending(self, instruction: Instruction) -> int:
        """An instruction that a restart interrupts is carried out again; runs are requeued instead."""
        number = next(self._numbers)
        is_of_run = hasattr(instruction, "run") or hasattr(getattr(instruction, "event", None), "run")
        if self._store is not None and not is_of_run:
            delay_s = instruction.delay_s if isinstance(instruction, instructions.After) else 0.0
            self._store.pending[number] = (self.clock.now() + timedelta(seconds=delay_s), instruction)
        return number

    async def _to_its_end(self, work: Coroutine[Any, Any, None], number: int) -> None:
        try:
            await work
        except Exception:
            log.exception("an instruction failed")
        if self._store is not None:
            self._store.pending.pop(number, None)
            self._save_soon()

    async def _feed(self, what: instructions.Later | instructions.After) -> None:
        await self.clock.sleep(
            what.delay_s if isinstance(what, instructions.After) else getattr(self._timings, what.delay)
        )
        self.dispatch(what.event)

    async def _run(self, start: instructions.StartRun | instructions.StartJobTask) -> None:
        run, began = start.run, self.clock.now()
        agent = self._agents[(run.pool_key, run.node_id)]
        common = start.job.wire.get("commonEnvironmentSettings", ())
        if isinstance(start, instructions.StartJobTask):
            body = start.body
        else:
            body = with_registry(start.task.wire, start.task.registry)
        preparation = start.job.wire.get("jobPreparationTask", {}).get("id")
        work = TaskWork(start.job.id, run.task_id, body, common, run.kind, preparation)
        if run.ending is not None:  # asked to end before it began
            outcome = self._never_ran()
        else:
            outcome = await self._outcome(agent, work)
        if not self._is_closing:
            outcome = replace(outcome, start_time=began, end_time=self.clock.now())
            self.note_run(self.clock.now(), tasklog.entry(work, run.node_id, outcome))
            self.dispatch(events.RunEnded(run, outcome))

    async def _outcome(self, agent: NodeAgent, work: TaskWork) -> TaskOutcome:
        start = self.clock.now()
        try:
            return await agent.run(work)
        except Exception:  # the agent's own bug must not leave the task running for ever
            log.exception("the agent failed with task %s of job %s", work.task_id, work.job_id)
            failure = TaskFailure("servererror", "Unknown", "The node agent failed")
            return TaskOutcome(None, start, self.clock.now(), failure)

    def _never_ran(self) -> TaskOutcome:
        now = self.clock.now()
        return TaskOutcome(None, now, now, _ENDED)

    def _remove(self, files: instructions.RemoveTaskFiles) -> None:
        agent = self._agents.get((files.pool_key, files.node_id))
        if agent is None:
            return
        try:
            agent.remove_task(files.job_id, files.task_id)
        except OSError as error:  # what cannot be deleted must not keep its task or job alive
            log.warning("files of task %s of job %s stay: %s", files.task_id, files.job_id, error.strerror)

    async def _remove_job(self, instruction: instructions.RemoveJobFiles) -> None:
        for files in instruction.files:
            await asyncio.to_thread(self._remove, files)
        self.dispatch(events.JobFilesRemoved(instruction.job_key))
