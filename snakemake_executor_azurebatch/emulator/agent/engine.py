"""A container engine of this machine: docker or podman, through its command line."""

from __future__ import annotations

import asyncio
import os
import shlex
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from snakemake_executor_azurebatch.emulator.programs import run

EngineKind = Literal["docker", "podman"]

#: Another program for, or more options of, the engine that its first word names: ``podman --storage-driver vfs``.
COMMAND_VARIABLE = "SNAKEMAKE_AZUREBATCH_CONTAINER_COMMAND"

#: Every container of a local service carries this label; its value says which service.
OWNER_LABEL = "snakemake-azurebatch.service"

_PROBE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call of the engine's program ended with."""

    exit_code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """The last thing it complained of; how it is to be used can follow that."""
        said = self.err.partition("\nUsage:")[0]
        lines = [line.strip() for line in said.splitlines() if line.strip() and "--help" not in line]
        return lines[-1] if lines else f"exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers. ``owner`` tells this service's containers from those of others."""

    kind: EngineKind
    command: tuple[str, ...]
    is_rootless: bool  #: root in a container is the service's own user
    owner: str

    async def call(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
        """Run the engine's program to its end. Its failure is in the answer; a cancelled call is killed."""
        return await _run([*self.command, *arguments], environment)

    async def remove(self, container_id: str) -> Answer:
        """Kill and remove a container with its anonymous volumes."""
        at_once = ("--time", "0") if self.kind == "podman" else ()
        return await self.call("rm", "--force", "--volumes", *at_once, container_id)

    async def owned(self) -> list[str]:
        """Ids of all containers of this service, running or not."""
        answer = await self.call(
            "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={OWNER_LABEL}={self.owner}"
        )
        return answer.out.split() if answer.exit_code == 0 else []


async def find_engine(kind: EngineKind, owner: str) -> Engine | str:
    """The engine, or why it cannot be used."""
    command = command_of(kind, os.environ.get(COMMAND_VARIABLE, ""))
    try:
        async with asyncio.timeout(_PROBE_LIMIT_S):
            answer = await _run([*command, *_QUESTION[kind]], None)
    except TimeoutError:
        return f"{command[0]} did not answer within {_PROBE_LIMIT_S:g} s"
    if answer.exit_code != 0:
        return f"{command[0]}: {answer.why}"
    return Engine(kind, command, "rootless" in answer.out or answer.out.strip() == "true", owner)


#: Fails where the engine does not work; the answer says whether it is rootless.
_QUESTION: Mapping[EngineKind, tuple[str, ...]] = {
    "docker": ("info", "--format", "{{.ServerVersion}} {{.SecurityOptions}}"),
    "podman": ("info", "--format", "{{.Host.Security.Rootless}}"),
}


def command_of(kind: EngineKind, configured: str) -> tuple[str, ...]:
    """How the engine is called: as configured, where the configured program is this engine (pure)."""
    words = shlex.split(configured)
    return tuple(words) if words and Path(words[0]).name == kind else (kind,)


async def _run(argv: list[str], environment: Mapping[str, str] | None) -> Answer:
    variables = None if environment is None else {**os.environ, **environment}
    try:
        ended = await run(*argv, stderr=PIPE, env=variables)
    except (OSError, ValueError) as error:
        return Answer(127, "", getattr(error, "strerror", None) or str(error))
    return Answer(ended.exit_code, ended.out, ended.err)
