"""Ctrl-C: the first one is Snakemake's, which cancels; the second one ends the process at once.

Snakemake alone would raise KeyboardInterrupt out of whatever cleans up by then, and the rest would still be cleaned up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

#: As a shell reports a program that SIGINT has ended.
LEFT_STATUS = 130

_WORDS = b"\nLeft at once. Tasks on Azure Batch may go on: the next run in this folder takes them over, or ends them.\n"


class Interrupts:
    """``before_leaving`` is called before the process is ended; it has to be quick, and may raise."""

    def __init__(self, before_leaving: Callable[[], object]) -> None:
        self._before_leaving = before_leaving
        self._count = 0
        self._is_listening = False

    def listen(self) -> None:
        """From now on. Nothing is done where SIGINT is somebody else's already, or outside of the main thread."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupted)
            self._is_listening = True

    def stop(self) -> None:
        """SIGINT is Python's again."""
        if self._is_listening and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._is_listening = False

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            raise KeyboardInterrupt
        with suppress(Exception):
            self._before_leaving()
        with suppress(OSError):
            os.write(2, _WORDS)
        os._exit(LEFT_STATUS)
