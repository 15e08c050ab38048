"""What tasks with container settings run in: docker, podman, or - where there is neither - processes of the host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Literal

from .container_options import settings_of
from .container_task import ContainerTask
from .engine import Engine, EngineKind, find_engine
from .failures import TaskTrouble, trouble
from .images import find_image, pull
from .work import Json, NodePlace, TaskFailure, TaskWork

log = logging.getLogger(__name__)

RuntimeChoice = Literal["auto", "docker", "podman", "process"]

_CANDIDATES: dict[RuntimeChoice, tuple[EngineKind, ...]] = {
    "auto": ("docker", "podman"),
    "docker": ("docker",),
    "podman": ("podman",),
    "process": (),
}


class ContainerRuntimeUnavailable(Exception):
    """The engine that was asked for does not answer. The message says why."""


class ContainerRuntime:
    """One for all nodes of a service. ``engine`` None is process mode: commands run on the host, images are noted."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self._pulls: dict[str, asyncio.Lock] = {}
        self._has_warned = False

    @classmethod
    async def choose(cls, wanted: RuntimeChoice, owner: str) -> ContainerRuntime:
        """Find out what there is.

        ``owner`` (the service's state directory) tells its containers from those of other services. ``auto``
        takes docker if its engine answers, else podman if that works, else processes. Raises
        ContainerRuntimeUnavailable where docker or podman is asked for by name and does not work.
        """
        reasons = []
        for kind in _CANDIDATES[wanted]:
            found = await find_engine(kind, owner)
            if isinstance(found, Engine):
                return cls(found)
            reasons.append(found)
        if wanted in ("docker", "podman"):
            raise ContainerRuntimeUnavailable("; ".join(reasons))
        return cls()

    @property
    def kind(self) -> str:
        """docker, podman or process."""
        return self.engine.kind if self.engine is not None else "process"

    async def prefetch(self, images: Iterable[str], registries: Sequence[Json] = ()) -> TaskFailure | None:
        """Get the images of a pool's containerConfiguration. What went wrong with the first that failed."""
        try:
            for image in images:
                if self.engine is None:
                    self.note(image)
                else:
                    await self._image_id(self.engine, image, registries)
        except TaskTrouble as error:
            return error.failure
        return None

    async def start(self, place: NodePlace, work: TaskWork, registries: Sequence[Json]) -> ContainerTask | None:
        """Get the task's image and start its container; None: run its command on the host. Raises TaskTrouble.

        A cancelled start leaves no container behind.
        """
        settings = settings_of(work)
        image = str(settings.get("imageName") or "")
        if self.engine is None:
            self.note(image)
            if not str(work.body.get("commandLine") or "").strip():
                message = "An empty command line means the image's own, which needs docker or podman"
                raise trouble("ContainerInvalidSettings", Message=message)
            return None
        own = settings.get("registry")
        image_id = await self._image_id(self.engine, image, [*registries, *([own] if own else [])])
        return await ContainerTask.start(self.engine, place, work, image_id)

    async def remove_leftovers(self) -> int:
        """Remove every container of this service: what a killed one left behind. Returns how many."""
        if self.engine is None:
            return 0
        left = await self.engine.owned()
        for container_id in left:
            await self.engine.remove(container_id)
        return len(left)

    def note(self, image: str) -> None:
        """Say once that images are not used; later ones only in detail."""
        level = logging.DEBUG if self._has_warned else logging.WARNING
        self._has_warned = True
        log.log(level, "image %s is not used: without docker or podman, commands run on this machine itself", image)

    async def _image_id(self, engine: Engine, image: str, registries: Sequence[Json]) -> str:
        if not image or image.startswith("-"):
            raise trouble("ContainerInvalidImage", ContainerImage=image, Message="This is not the name of an image")
        async with self._pulls.setdefault(image, asyncio.Lock()):  # one pull, however many wait for it
            return await find_image(engine, image) or await pull(engine, image, registries)


#: For nodes that were given none: process mode, its warning told once.
PROCESS_MODE = ContainerRuntime()
