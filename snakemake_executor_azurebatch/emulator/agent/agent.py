"""The node agent: runs tasks from their resource files to their output files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from . import layout
from .containers import PROCESS_MODE, ContainerRuntime
from .failures import failure
from .run import NodeMeans, TaskRun
from .transfer import NODE_FAULTS, SILENCE_S, Link
from .work import Json, NodePlace, TaskFailure, TaskKind, TaskOutcome, TaskWork, task_root_directory

_REMOVED = "The node is being removed"


class NodeAgent:
    """One node. Its tasks are processes or containers of this machine, in the directories of ``place.root``.

    ``containers`` None is process mode. ``silence_s`` is how long a storage account may say nothing before a
    transfer has timed out.
    """

    def __init__(
        self, place: NodePlace, containers: ContainerRuntime | None = None, *, silence_s: float = SILENCE_S
    ) -> None:
        self.place = place
        self._means = NodeMeans(place, Link(silence_s), containers or PROCESS_MODE)
        self._runs: dict[str, TaskRun] = {}
        self._closed = False
        for name in layout.NODE_DIRECTORIES:
            (place.root / name).mkdir(parents=True, exist_ok=True)

    async def prefetch(self, images: Iterable[str], registries: Sequence[Json] = ()) -> TaskFailure | None:
        """Get the images of the pool's containerConfiguration; None is success, a failure makes a node unusable.

        The registries hold for the node's tasks too. source: public documentation (containerConfiguration)
        """
        self._means.registries = tuple(registries)
        return await self._means.containers.prefetch(images, registries)

    async def run(self, work: TaskWork) -> TaskOutcome:
        """Run one task to its end. What goes wrong with the task is in the outcome, never raised.

        A repeated run finds the working directory as the run before left it; its stdout.txt and stderr.txt
        begin anew. Raises ValueError where that task is running already.
        """
        key = work.root_directory
        if key in self._runs:
            raise ValueError(f"task {work.task_id} of job {work.job_id} is running on this node already")
        if self._closed:
            now = datetime.now(UTC)
            return TaskOutcome(None, now, now, failure("TaskEnded", Message=_REMOVED))
        run = TaskRun(self._means, work)
        self._runs[key] = run
        try:
            return await run.to_end()
        finally:
            del self._runs[key]
            run.gone.set()

    def terminate(self, job_id: str, task_id: str, kind: TaskKind = "task") -> None:
        """End a running task: SIGTERM, 2 s later SIGKILL. Nothing happens where it does not run."""
        run = self._runs.get(task_root_directory(job_id, task_id, kind))
        if run is not None:
            run.end("The task was terminated by a request")

    async def close(self) -> None:
        """End every task of this node and wait until its processes and containers are gone."""
        self._closed = True
        runs = list(self._runs.values())
        for run in runs:
            run.end(_REMOVED)
        for run in runs:
            await run.gone.wait()
        await self._means.link.close()

    def task_directory(self, job_id: str, task_id: str, kind: TaskKind = "task") -> Path:
        """``<root>/workitems/<job>/job-1/<task>``, or ``<root>/startup``: stdout.txt, stderr.txt and ``wd``."""
        return self.place.root / task_root_directory(job_id, task_id, kind)

    def remove_task(self, job_id: str, task_id: str) -> None:
        """Delete the task's directory, whatever modes its files have; nothing happens where it is gone.

        Not for a running task. Raises OSError for what this user cannot delete.
        """
        _remove_tree(self.task_directory(job_id, task_id))

    def set_fault(self, name: str | None) -> None:
        """Break the node on purpose, from now on; None mends it.

        ``disk_full``: what is to be staged in cannot be written (DiskFull). ``blob_unreachable``: blob storage
        does not answer (the codes for timeouts). Raises ValueError for another name.
        """
        if name is not None and name not in NODE_FAULTS:
            raise ValueError(f"unknown fault {name!r}: one of {', '.join(NODE_FAULTS)}")
        self._means.link.fault = name

    def set_failure(self, code: str) -> None:
        """Let tasks end with this failure code before their command starts, from now on; empty: no more."""
        self._means.failure_code = code


def _remove_tree(root: Path) -> None:
    """Delete a tree, folders without write permission included. It may be gone, or go meanwhile."""
    with suppress(FileNotFoundError):
        root.chmod(0o700)
        for folder, folders, _ in os.walk(root):
            for name in folders:
                path = Path(folder) / name
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(root)
