"""Threads that keep no process alive, and steps that may hang.

The threads of Python's own ThreadPoolExecutor hold up the end of the process until the last of them has ended, which
a request to a service that has stopped answering does not for minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_STOP = None


class DaemonPool(Executor):
    """A thread pool as Python's own, of daemon threads. They start as they are needed."""

    def __init__(self, max_workers: int, thread_name_prefix: str = "azurebatch") -> None:
        self._max_workers = max_workers
        self._name = thread_name_prefix
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn`` called by one of the threads. Raises RuntimeError after ``shutdown``."""
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._work.put((future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_workers:
                name = f"{self._name}_{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with ``wait``, return when all is done that was taken."""
        with self._lock:
            if cancel_futures:
                self._cancel_all()
            if not self._is_closed:
                self._is_closed = True
                for _ in self._threads:
                    self._work.put(_STOP)
        if wait:
            for thread in self._threads:
                thread.join()

    def _cancel_all(self) -> None:
        stops = 0
        with suppress(Empty):
            while True:
                item = self._work.get_nowait()
                if item is _STOP:
                    stops += 1
                else:
                    item[0].cancel()
        for _ in range(stops):
            self._work.put(_STOP)

    def _run(self) -> None:
        while True:
            item = self._work.get()
            if item is _STOP:
                return
            _do(*item)
            del item  # what it holds is not to live until the next one comes
            self._idle.release()


def _do(future: Future[Any], step: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = step()
    except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
        future.set_exception(error)
    else:
        future.set_result(result)


def within(limit_s: float, step: Callable[[], object]) -> bool:
    """Take a step, and wait for it no longer than ``limit_s``; whether it has ended by then. Raises what it raised."""
    pool = DaemonPool(1, "azurebatch-within")
    future = pool.submit(step)
    pool.shutdown(wait=False)
    try:
        future.result(limit_s)
    except TimeoutError:
        if future.done():  # its own
            raise
        return False
    return True
