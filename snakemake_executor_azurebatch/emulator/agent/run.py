"""One run of one task: resource files, command, output files."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from . import layout, output_files, resource_files
from .containers import ContainerRuntime
from .failures import TaskStopped, TaskTrouble, file_trouble, injected, trouble
from .process import TaskProcess, split
from .transfer import Link
from .usage import METER, Usage
from .work import ContainerInfo, Json, NodePlace, TaskFailure, TaskOutcome, TaskWork

_T = TypeVar("_T")


class Running(Protocol):
    """A command on its way, on the host or in a container."""

    @property
    def usage(self) -> Usage:
        """Of the reaped process, where it is this one's child."""

    @property
    def container(self) -> ContainerInfo | None:
        """What it runs in."""

    async def wait(self) -> int:
        """The exit code."""

    async def end(self) -> int | None:
        """Ask it to end, then make it end. The exit code; None where it never started."""

    async def close(self) -> None:
        """Leave nothing of it behind."""


@dataclass(slots=True)
class NodeMeans:
    """What a node gives to its runs."""

    place: NodePlace
    link: Link
    containers: ContainerRuntime
    #: the pool's containerRegistries
    registries: Sequence[Json] = field(default_factory=tuple)
    #: tasks fail with it, on purpose; empty: they do not
    failure_code: str = ""


class TaskRun:
    """One run of one task on its way."""

    def __init__(self, means: NodeMeans, work: TaskWork) -> None:
        self.gone = asyncio.Event()
        self._means = means
        self._work = work
        self._directory = means.place.root / work.root_directory
        self._wd = self._directory / "wd"
        self._environment = layout.task_environment(means.place, work, os.environ, Path(sys.executable))
        self._ended = asyncio.Event()
        self._reason = ""
        self._timed_out = False
        self._exit_code: int | None = None
        self._container: ContainerInfo | None = None
        self._usage = Usage()
        self._running: Running | None = None  # kept here, so that a cancelled run finds what was just started

    def end(self, reason: str) -> None:
        """Stop whatever is going on; the outcome says TaskEnded with this reason."""
        if not self._ended.is_set():
            self._reason = reason
            self._ended.set()

    async def to_end(self) -> TaskOutcome:
        """Resource files, command, output files."""
        start_time = datetime.now(UTC)
        failure_met: TaskFailure | None = None
        try:
            self._prepare()
            if self._means.failure_code and self._work.kind == "task":
                raise injected(self._means.failure_code)
            await self._execute()
        except TaskTrouble as error:
            failure_met = error.failure
        return TaskOutcome(
            exit_code=self._exit_code,
            start_time=start_time,
            end_time=datetime.now(UTC),
            failure=failure_met,
            container=self._container,
            peak_memory_bytes=self._usage.peak_memory_bytes,
            cpu_s=self._usage.cpu_s,
        )

    def _prepare(self) -> None:
        try:
            self._wd.mkdir(parents=True, exist_ok=True)
            for name in ("stdout.txt", "stderr.txt"):
                (self._directory / name).write_bytes(b"")
        except OSError as error:
            raise file_trouble("CommandLaunchFailed", error, FilePath=str(self._directory)) from error

    async def _execute(self) -> None:
        limit_s = self._limit_s()
        timer = None
        if limit_s is not None:
            timer = asyncio.get_running_loop().call_later(limit_s, self._time_is_up, limit_s)
        try:
            await self._unless_ended(self._fetch())
            await self._command()
        finally:
            if timer is not None:
                timer.cancel()
        await self._upload()

    def _limit_s(self) -> float | None:
        constraints = self._work.body.get("constraints") or {}
        try:
            return layout.duration_s(constraints.get("maxWallClockTime"))
        except ValueError as error:
            raise trouble("CommandLaunchFailed", Message=f"maxWallClockTime: {error}") from error

    def _time_is_up(self, limit_s: float) -> None:
        self._timed_out = not self._ended.is_set()
        self.end(f"The task ran longer than its maxWallClockTime of {limit_s:g} s")

    async def _fetch(self) -> None:
        destination = resource_files.Destination(self._means.link, self._wd, self._means.place.auto_storage_url)
        await resource_files.fetch(destination, self._work.body.get("resourceFiles") or ())

    async def _command(self) -> None:
        METER.watch(self._directory)
        try:
            await self._unless_ended(self._start())
            await self._finish()
        finally:  # for a cancelled run too
            used = METER.end(self._directory)
            if self._running is not None:
                await self._running.close()
                self._usage = used.at_least(self._running.usage)
                self._container = self._running.container

    async def _start(self) -> None:
        if self._work.body.get("containerSettings"):
            means = self._means
            self._running = await means.containers.start(means.place, self._work, means.registries)
        if self._running is None:
            argv = split(str(self._work.body.get("commandLine") or ""))
            if not argv:
                raise trouble("CommandLaunchFailed", Message="The command line is empty")
            self._running = TaskProcess.start(argv, self._wd, self._directory, self._environment)

    async def _finish(self) -> None:
        if self._running is None:
            return
        try:
            self._exit_code = await self._unless_ended(self._running.wait())
        except TaskStopped:
            self._exit_code = await self._running.end()
            if not self._timed_out:
                raise

    async def _upload(self) -> None:
        """Send what is wanted, then judge. A failed upload hides a failed command, and keeps its exit code."""
        exit_code = self._exit_code
        if exit_code is not None:
            wanted = output_files.wanted(self._work.body.get("outputFiles") or (), exit_code)
            if wanted:
                sending = self._send(wanted)
                await (sending if self._timed_out else self._unless_ended(sending))
        if self._timed_out:
            raise TaskStopped(self._reason)
        if exit_code != 0:
            raise trouble("FailureExitCode", Message="The task process exited with an unexpected exit code")

    async def _send(self, wanted: list[Json]) -> None:
        """The documented logs of an upload stand beside stdout.txt."""
        uploads = await asyncio.to_thread(output_files.plan, wanted, self._wd, self._environment)
        self._log("fileuploadout.txt", "".join(f"{upload.source} -> {upload.blob}\n" for upload in uploads))
        self._log("fileuploaderr.txt", "")
        try:
            await output_files.send(self._means.link, uploads)
        except TaskTrouble as error:
            self._log("fileuploaderr.txt", f"{error}\n{dict(error.failure.details)}\n")
            raise

    def _log(self, name: str, text: str) -> None:
        try:
            (self._directory / name).write_text(text, errors="surrogateescape")
        except OSError as error:
            raise file_trouble("FileUploadMiscError", error, FilePath=str(self._directory / name)) from error

    async def _unless_ended(self, doing: Coroutine[Any, Any, _T]) -> _T:
        """The result, or TaskStopped as soon as the task is to end."""
        if self._ended.is_set():
            doing.close()
            raise TaskStopped(self._reason)
        work = asyncio.ensure_future(doing)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return await work
            raise TaskStopped(self._reason)
        finally:
            for future in (work, ended):
                future.cancel()
            await asyncio.gather(work, ended, return_exceptions=True)
