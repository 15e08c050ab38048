"""The local service's own engine and handlers on a clock that jumps from event to event: days take seconds, exactly.

Nodes are counted, from the moment that they exist until they are gone: that is what is paid for.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.emulator import calls, events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskFailure, TaskOutcome
from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.engine import Engine
from snakemake_executor_azurebatch.emulator.faultinjection import FaultInjection
from snakemake_executor_azurebatch.emulator.handlers import autoscale, jobs, pools, tasks
from snakemake_executor_azurebatch.emulator.state import State

START = datetime(2026, 3, 2, tzinfo=UTC)
ENDED = TaskFailure("usererror", "TaskEnded", "Task Was Ended by User Request")


@dataclass(frozen=True)
class Times:
    """How long a pool and its nodes take."""

    resize_s: float = 60.0  #: from the request to the nodes
    boot_s: float = 150.0  #: from then until they take tasks
    settle_s: float = 1.0

    @property
    def ready_s(self) -> float:
        """From the request to nodes that take tasks."""
        return self.resize_s + self.boot_s


@dataclass
class Clock:
    """What handlers ask for the time."""

    now_s: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.now_s)


@dataclass
class SimulatedService:
    """What handlers see of a service; ``takes_s``: of each task, by id."""

    times: Times
    takes_s: Mapping[str, float]
    clock: Clock = field(default_factory=Clock)
    state: State = field(default_factory=State)
    account_url: str = "http://simulated"
    config: ServiceConfig = field(default_factory=lambda: ServiceConfig(Path()))
    injection: FaultInjection = field(default_factory=FaultInjection)
    node_s: float = 0.0  #: seconds of all nodes so far

    def __post_init__(self) -> None:
        self._engine = Engine(self.state)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._timers: dict[int, Any] = {}
        self._stopped: dict[int, bool] = defaultdict(bool)

    # -- what handlers need

    def dispatch(self, event: Any) -> None:
        for instruction in self._engine.handle(event, self.clock.now()):
            self._carry_out(instruction)

    def save(self) -> None:
        """Nothing is kept."""

    def call(self, handler: Callable[[calls.Call], calls.Answer], body: Any = None, **params: str) -> calls.Answer:
        """One request. Raises ServiceFault."""
        given = calls.Call(self, params, {}, {}, self.account_url, "/", "", is_legacy=False, body=body)
        return handler(given)

    # -- requests in short

    def create_pool(self, pool_id: str, slots: int, **members: Any) -> None:
        policy = {"taskSchedulingPolicy": {"nodeFillType": "pack"}, "taskSlotsPerNode": slots}
        self.call(pools.create_pool, {"id": pool_id, "vmSize": "standard_d4s_v5", **policy, **members})

    def create_job(self, job_id: str, pool_id: str) -> None:
        self.call(jobs.create_job, {"id": job_id, "poolInfo": {"poolId": pool_id}})

    def create_task(self, job_id: str, task_id: str, slots: int) -> None:
        body = {"id": task_id, "commandLine": "true", "requiredSlots": slots}
        self.call(tasks.create_task, body, jobId=job_id)

    def set_formula(self, pool_id: str, formula: str) -> None:
        """Raises ServiceFault where the service takes no change now."""
        body = {"autoScaleFormula": formula, "autoScaleEvaluationInterval": "PT5M"}
        self.call(autoscale.enable_pool_auto_scale, body, poolId=pool_id)

    # -- time

    def at(self, delay_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.clock.now_s + delay_s, next(self._numbers), step))

    def run_until(self, until_s: float) -> None:
        while self._due and self._due[0][0] <= until_s:
            due_s, _, step = heapq.heappop(self._due)
            self._pass(due_s)
            step()
        self._pass(until_s)

    def nodes(self) -> int:
        return sum(len(pool.nodes) for pool in self.state.pools.values())

    def _pass(self, now_s: float) -> None:
        self.node_s += self.nodes() * (now_s - self.clock.now_s)
        self.clock.now_s = now_s

    def _carry_out(self, what: Any) -> None:
        match what:
            case instructions.Later(delay, event):
                self.at(getattr(self.times, delay, 1.0), lambda: self.dispatch(event))
            case instructions.After(delay_s, event):
                self.at(delay_s, lambda: self.dispatch(event))
            case instructions.BootNode(pool_key, node_id, boot):
                half_s = self.times.boot_s / 2
                self.at(half_s, lambda: self.dispatch(events.NodeStarting(pool_key, node_id, boot)))
                self.at(2 * half_s, lambda: self.dispatch(events.NodeReady(pool_key, node_id, boot)))
            case instructions.CloseNode(pool_key, node_id):
                self.at(self.times.settle_s, lambda: self.dispatch(events.NodeGone(pool_key, node_id)))
            case instructions.StartRun(run, task):
                self.at(self.takes_s[task.id], lambda: self._end(run, None))
            case instructions.StopRun(run):
                self.at(0.0, lambda: self._end(run, ENDED))
            case _:
                raise NotImplementedError(what)

    def _end(self, run: Any, failure: TaskFailure | None) -> None:
        if run.number not in self.state.runs or self._stopped[run.number]:
            return
        self._stopped[run.number] = True
        now = self.clock.now()
        self.dispatch(events.RunEnded(run, TaskOutcome(None if failure else 0, now, now, failure)))
