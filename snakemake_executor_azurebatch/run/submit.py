"""From jobs that are ready to Batch tasks: stages each job's inputs up, then submits many tasks in one request.

    add -> workers: upload what is missing, write the manifest -> collector -> senders: collections of up to 100 tasks

Jobs for one collection have their small inputs sent together first. ``add`` returns at once. A collection leaves when
it is full, when nothing more is being prepared, or when its first task has waited ``LINGER_S``: large uploads do not
hold up the jobs beside them. Where the service is slow or away, no more than ``PREPARED_AT_MOST`` tasks are prepared
in advance: the workers wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.daemons import DaemonPool
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.tasks import Task

if TYPE_CHECKING:
    Prepared = tuple[JobRequest, Task]

MAX_COLLECTION = 100  #: tasks in one request (source: Azure Batch documentation, limits)
PREPARED_AT_MOST = 4 * MAX_COLLECTION
LINGER_S = 2.0
WORKERS = 8
SENDERS = 4  #: collections under way at the same time

#: How often a worker that waits for room looks whether the end has come.
_GLANCE_S = 0.2

#: Puts a job's inputs and manifest into blob storage and says what task is to be created.
Prepare = Callable[[JobRequest], Task]
#: Does for many jobs together what is better done so; what it does not do is done by ``Prepare``.
Together = Callable[[Sequence[JobRequest]], None]
Failed = Callable[[JobRequest, Exception], None]

_STOP = object()


class Submitter:
    """Submits jobs to one Batch job.

    ``create`` says which tasks it could not create, and why. ``failed`` is called, from any thread, for each job that
    could not be submitted, ``created`` with the keys of those that were.
    """

    def __init__(
        self,
        create: Callable[[Sequence[Task]], Mapping[str, Exception]],
        prepare: Prepare,
        failed: Failed,
        created: Callable[[list[str]], None] = lambda _: None,
        together: Together = lambda _: None,
    ) -> None:
        self._create = create
        self._created = created
        self._prepare = prepare
        self._together = together
        self._failed = failed
        self._workers = DaemonPool(WORKERS, "azurebatch-prepare")
        self._senders = DaemonPool(SENDERS, "azurebatch-send")
        self._free_senders = threading.Semaphore(SENDERS)
        #: one item per added job: (job, task), or None for a job that failed; then _STOP
        self._prepared: Queue[object] = Queue(PREPARED_AT_MOST)
        self._expected = self._unsent = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._collector = threading.Thread(target=self._collect_all, name="azurebatch-collect", daemon=True)
        self._collector.start()

    def add(self, requests: Sequence[JobRequest]) -> None:
        """Take jobs over. Returns at once."""
        with self._lock:
            self._expected += len(requests)
            self._unsent += len(requests)
        self._begin(requests)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was added has been sent, or could not be."""
        with self._lock:
            return self._unsent == 0

    def stop(self, patience_s: float | None = None) -> None:
        """Submit nothing more. Returns when the requests under way have ended, after ``patience_s`` at the latest."""
        self._stopping.set()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._put(_STOP)
        self._collector.join(patience_s)
        self._senders.shutdown(wait=patience_s is None)

    def _begin(self, requests: Sequence[JobRequest]) -> None:
        """One collection after the other, so that the first ones do not wait for what the last ones need."""
        some, rest = requests[:MAX_COLLECTION], requests[MAX_COLLECTION:]
        if len(some) > 1:
            self._workers.submit(self._prepare_together, some, rest)
        elif some:
            self._workers.submit(self._prepare_one, some[0])

    def _prepare_together(self, some: Sequence[JobRequest], rest: Sequence[JobRequest]) -> None:
        with suppress(Exception):  # whatever it is: it shows again, and better, with the job that has it
            self._together(some)
        with suppress(RuntimeError):  # stopped meanwhile
            for request in some:
                self._workers.submit(self._prepare_one, request)
            self._begin(rest)

    def _prepare_one(self, request: JobRequest) -> None:
        item = None
        try:
            item = (request, self._prepare(request))
        except Exception as error:  # noqa: BLE001 (whatever it was: a job that nobody reports would never end)
            self._failed(request, error)
            self._sent(1)
        finally:
            self._put(item)

    def _put(self, item: object) -> None:
        """Wait for room, unless the end has come: what does not fit then is not wanted any more."""
        while True:
            try:
                self._prepared.put(item, timeout=_GLANCE_S)
            except Full:
                if not self._stopping.is_set():
                    continue
            return

    def _collect_all(self) -> None:
        while (batch := self._next_collection()) is not None:
            if not batch:
                continue
            while not self._free_senders.acquire(timeout=_GLANCE_S):
                if self._stopping.is_set():
                    return
            self._senders.submit(self._send, batch)

    def _next_collection(self) -> list[Prepared] | None:
        """The next tasks to create, perhaps none; None when there is nothing more to do."""
        batch: list[Prepared] = []
        leaves_at = None
        while len(batch) < MAX_COLLECTION:
            timeout_s = None if leaves_at is None else max(0.0, leaves_at - time.monotonic())
            try:
                item = self._prepared.get(timeout=timeout_s)
            except Empty:
                break
            if item is _STOP or self._stopping.is_set():
                return None
            if isinstance(item, tuple):
                batch.append(item)
                leaves_at = leaves_at or time.monotonic() + LINGER_S
            with self._lock:
                self._expected -= 1
                if self._expected == 0:
                    break
        return batch

    def _send(self, batch: list[Prepared]) -> None:
        try:
            refused = self._create([task for _, task in batch])
        except Exception as error:  # noqa: BLE001 (whatever it was: a job that nobody reports would never end)
            refused = {str(task["id"]): error for _, task in batch}
        self._free_senders.release()
        self._created([request.key for request, task in batch if task["id"] not in refused])
        for request, task in batch:
            if task["id"] in refused:
                self._failed(request, refused[task["id"]])
        self._sent(len(batch))

    def _sent(self, count: int) -> None:
        with self._lock:
            self._unsent -= count
