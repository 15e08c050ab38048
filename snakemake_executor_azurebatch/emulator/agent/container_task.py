"""One task's container: created, started with its output in the task's files, stopped, removed."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import uuid
from pathlib import Path

from .container_options import create_options
from .engine import Answer, Engine
from .failures import TaskTrouble, trouble
from .images import pull_trouble
from .layout import container_environment
from .process import GRACE_S, TaskProcess, split
from .usage import Usage
from .work import ContainerInfo, NodePlace, TaskWork

#: States in which a container's command was never started.
_NOT_STARTED = ("created", "configured", "initialized", "")
_NO_IMAGE = ("no such image", "image not known", "invalid reference format")
#: For the engine's program to end after its container did.
_PATIENCE_S = 10.0


class ContainerTask:
    """A running container. What it used is not known here: its processes are not this one's children."""

    def __init__(self, engine: Engine, container_id: str, client: TaskProcess, directory: Path) -> None:
        self.usage = Usage()
        self.container = ContainerInfo(container_id, "created")
        self._engine = engine
        self._client = client
        self._directory = directory

    @classmethod
    async def start(cls, engine: Engine, place: NodePlace, work: TaskWork, image_id: str) -> ContainerTask:
        """Create the task's container and start it. Raises TaskTrouble; then nothing is left."""
        argv = split(str(work.body.get("commandLine") or ""))  # empty: the image's own command
        container_id = await _create(engine, place, work, [image_id, *argv])
        directory = place.root / work.root_directory
        try:
            start = [*engine.command, "start", "--attach", container_id]
            client = TaskProcess.start(start, directory, directory, os.environ)
        except TaskTrouble as error:
            await engine.remove(container_id)
            raise trouble("ContainerMiscError", Message=str(error)) from error
        return cls(engine, container_id, client, directory)

    async def wait(self) -> int:
        """The exit code of the container's command. Raises TaskTrouble where it never started."""
        exit_code = await self._client.wait()
        await self._inspect()
        if self.container.state in _NOT_STARTED:
            raise trouble("ContainerInvalidSettings", Message=self.container.error or self._last_words())
        if self.container.state == "running":
            raise trouble("ContainerMiscError", Message=f"The engine let go of the container: {self._last_words()}")
        return exit_code

    async def end(self) -> int | None:
        """SIGTERM, 2 s later SIGKILL. The exit code; None where it never started."""
        container_id = self.container.container_id
        await self._engine.call("stop", "-t", f"{GRACE_S:g}", container_id)
        await self._inspect()
        if self.container.state in (*_NOT_STARTED, "running"):  # it was only starting when it was told to stop
            await self._engine.remove(container_id)
        try:
            exit_code = await asyncio.wait_for(self._client.wait(), _PATIENCE_S)
        except TimeoutError:
            exit_code = await self._client.end()
        return None if self.container.state in _NOT_STARTED else exit_code

    async def close(self) -> None:
        """Remove the container, running or not."""
        await self._engine.remove(self.container.container_id)
        await self._client.close()

    async def _inspect(self) -> None:
        container_id = self.container.container_id
        answer = await self._engine.call("inspect", "--type", "container", "--format", "{{json .State}}", container_id)
        if answer.exit_code == 0:
            state = json.loads(answer.out)
            self.container = ContainerInfo(container_id, str(state.get("Status") or ""), str(state.get("Error") or ""))

    def _last_words(self) -> str:
        return Answer(1, "", (self._directory / "stderr.txt").read_text(errors="replace")).why


async def _create(engine: Engine, place: NodePlace, work: TaskWork, what: list[str]) -> str:
    """A new container's id. Not left half way: a cancelled call waits for it and removes it."""
    creating = asyncio.ensure_future(_call_create(engine, place, work, what))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        for made in await asyncio.gather(creating, return_exceptions=True):
            if isinstance(made, str):
                await engine.remove(made)
        raise


async def _call_create(engine: Engine, place: NodePlace, work: TaskWork, what: list[str]) -> str:
    options = create_options(engine, place, work, f"azurebatch-{uuid.uuid4().hex}")
    variables = container_environment(place, work)
    with tempfile.NamedTemporaryFile("w", prefix="azurebatch-env-", errors="surrogateescape") as env_file:
        # A line is a variable there: values of several lines go through the program's own environment.
        several = {name: value for name, value in variables.items() if "\n" in value}
        env_file.write("".join(f"{name}={value}\n" for name, value in variables.items() if name not in several))
        env_file.flush()
        environment = ["--env-file", env_file.name, *(word for name in several for word in ("--env", name))]
        answer = await engine.call("create", *environment, *options, *what, environment=several)
    if answer.exit_code == 0:
        return answer.out.split()[-1]
    raise create_trouble(answer)


def create_trouble(answer: Answer) -> TaskTrouble:
    """Why a container could not be created, from the engine's words (pure)."""
    words = answer.err.lower()
    if any(text in words for text in _NO_IMAGE):
        return trouble("ContainerInvalidImage", Message=answer.why)
    general = pull_trouble("localhost/created", answer, has_credentials=False)  # the engine, the disk
    if general.failure.code in ("DiskFull", "ContainerMiscError"):
        return general
    return trouble("ContainerInvalidSettings", Message=answer.why)
