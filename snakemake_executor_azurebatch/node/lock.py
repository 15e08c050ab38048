"""Locks between the tasks of a node, also across containers that share the folder: they are the kernel's.

The holder of a lock may die at any moment: the kernel then releases it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager
from typing import Iterator, Optional

from .blob import Interrupted

FIRST_WAIT_S = 0.005
LONGEST_WAIT_S = 0.1


@contextmanager
def locked(path: str, stopping: threading.Event, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that is the file ``path``, made where it is missing; its time becomes the last use.

    Yields True; without ``wait`` also False, where another one holds it. Raises Interrupted, OSError.
    """
    descriptor = _acquire(path, stopping, wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _acquire(path: str, stopping: threading.Event, wait: bool) -> Optional[int]:
    wait_s = FIRST_WAIT_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _take(descriptor):
                if _is_at(descriptor, path):
                    mine, descriptor = descriptor, -1
                    return mine
                continue  # it was removed while we waited: another one may hold its successor
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if not wait:
            return None
        # asked again and again, since a thread that waits in the kernel could not be told to stop
        if stopping.wait(wait_s):
            raise Interrupted("gave up waiting for another task's download: the task was told to stop")
        wait_s = min(wait_s * 1.5, LONGEST_WAIT_S)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
