"""The end of what tasks need: with their run, but what an earlier one has left is spared where this one never began.

A run begins with the first job that it submits or takes over. One that fails before, for a file that is missing, say,
leaves living tasks as it has found them, for the next try. Somebody's Ctrl-C ends all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

Step = Callable[[], None]


def is_to_end(error: type[BaseException] | None, *, is_left: bool, has_begun: bool) -> bool:
    """Whether something of a run is ended when what is open closes (pure); ``error``: what made it close, if any."""
    if not is_left:
        return True
    return has_begun if error is None else not issubclass(error, Exception)


class Parting:
    """Takes the steps that end things, or spares them."""

    def __init__(
        self, attempt: Callable[[Step], None], begun: threading.Event, spare: Step, *, is_left: bool = False
    ) -> None:
        """``is_left``: an earlier run may have tasks there. ``spare`` is called where a step is not taken for that."""
        self._attempt = attempt
        self._begun = begun
        self._spare = spare
        self.is_left = is_left

    def at_end(self, opening: ExitStack, step: Step) -> None:
        """Take the step when ``opening`` closes, unless what it ends is to be spared."""

        def leave(error: type[BaseException] | None, *_: object) -> None:
            if is_to_end(error, is_left=self.is_left, has_begun=self._begun.is_set()):
                self._attempt(step)
            elif error is None:  # else there is more to come: the next try, or the end of the run
                self._spare()

        opening.push(leave)
