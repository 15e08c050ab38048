"""Nodes that only pretend: tasks take a given time on the service's clock and run nothing.

A task's environment settings say more: SIMULATE_SECONDS (how long it takes), SIMULATE_EXIT_CODE. Start,
preparation and release tasks take no time unless SIMULATE_SECONDS says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

from .agent.agent import NodeAgent
from .agent.failures import failure
from .agent.layout import duration_s
from .agent.work import NodePlace, TaskFailure, TaskKind, TaskOutcome, TaskWork, task_root_directory
from .clock import ServiceClock

SECONDS = "SIMULATE_SECONDS"
EXIT_CODE = "SIMULATE_EXIT_CODE"


class SimulatedAgent(NodeAgent):
    """A node whose tasks take between ``takes_s`` seconds (least, most) and leave empty files."""

    def __init__(self, place: NodePlace, clock: ServiceClock, takes_s: tuple[float, float]) -> None:
        super().__init__(place)
        self._clock = clock
        self._takes_s = takes_s
        self._pretended: dict[str, asyncio.Event] = {}
        self._is_closed = False

    async def run(self, work: TaskWork) -> TaskOutcome:
        """Wait as long as the task is to take, or until it is ended."""
        start, key = self._clock.now(), work.root_directory
        if self._is_closed:
            return TaskOutcome(None, start, start, failure("TaskEnded", Message="The node is being removed"))
        ended = self._pretended[key] = asyncio.Event()
        try:
            self._leave_files(work)
            code, trouble = await self._pretend(work, ended)
        finally:
            del self._pretended[key]
        return TaskOutcome(code, start, self._clock.now(), trouble)

    def terminate(self, job_id: str, task_id: str, kind: TaskKind = "task") -> None:
        """End a task at once. Nothing happens where it does not run."""
        ended = self._pretended.get(task_root_directory(job_id, task_id, kind))
        if ended is not None:
            ended.set()

    async def close(self) -> None:
        """End every task of this node."""
        self._is_closed = True
        for ended in self._pretended.values():
            ended.set()
        await super().close()

    async def _pretend(self, work: TaskWork, ended: asyncio.Event) -> tuple[int | None, TaskFailure | None]:
        settings = _settings(work)
        try:
            takes_s = float(settings.get(SECONDS, self._usual_s(work)))
            code = int(settings.get(EXIT_CODE, "0"))
        except ValueError as error:
            return None, failure("CommandLaunchFailed", Message=f"{SECONDS}, {EXIT_CODE}: {error}")
        limit_s = duration_s((work.body.get("constraints") or {}).get("maxWallClockTime"))
        is_too_long = limit_s is not None and limit_s < takes_s
        sleeping = asyncio.ensure_future(self._clock.sleep(limit_s if is_too_long and limit_s else takes_s))
        ending = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait((sleeping, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            ending.cancel()
        if ended.is_set():
            return 143, failure("TaskEnded", Message="The task was terminated by a request")
        if is_too_long:
            return 143, failure("TaskEnded", Message=f"The task ran longer than its maxWallClockTime of {limit_s:g} s")
        if code != 0:
            message = "The task process exited with an unexpected exit code"
            return code, failure("FailureExitCode", Message=message)
        return 0, None

    def _usual_s(self, work: TaskWork) -> float:
        """The same for the same task, every time."""
        if work.kind != "task":
            return 0.0
        return Random(f"{work.job_id}/{work.task_id}").uniform(*self._takes_s)  # noqa: S311 (repeatable)

    def _leave_files(self, work: TaskWork) -> None:
        directory = self.task_directory(work.job_id, work.task_id, work.kind)
        (directory / "wd").mkdir(parents=True, exist_ok=True)
        for name in ("stdout.txt", "stderr.txt"):
            (directory / name).touch()


def _settings(work: TaskWork) -> Mapping[str, str]:
    given = (*work.common_environment, *(work.body.get("environmentSettings") or ()))
    return {str(setting["name"]): str(setting.get("value") or "") for setting in given}
