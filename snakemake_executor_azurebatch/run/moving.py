"""Jobs that have lost too many nodes go to dedicated ones, where there are any for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import JobRequest


@dataclass(frozen=True, slots=True)
class Move:
    """Where a job can go that has lost too many nodes."""

    pool_id: str
    submit: Callable[[], None]  #: run it there from now on


class ToDedicated(Protocol):
    """Finds dedicated nodes for jobs."""

    def prepare(self, request: JobRequest) -> Move | None:
        """A place for the job; None where it stays. From the watcher's thread. Raises AzureBatchError."""
        ...


class Mover:
    """Decides which jobs go. What keeps a job where it is gets told once."""

    def __init__(self, to_dedicated: ToDedicated | None, limit: int, say: Callable[[str], None]) -> None:
        """``limit``: so many lost nodes are too many; 0: never."""
        self._to_dedicated = to_dedicated
        self._limit = limit
        self._say = say
        self._has_told = False

    @property
    def may_move(self) -> bool:
        """Whether any job may ever go."""
        return self._to_dedicated is not None and bool(self._limit)

    def unlucky(self, counts: Mapping[str, int]) -> list[str]:
        """Of tasks and how many nodes each has lost: those that have lost too many."""
        return [key for key, count in counts.items() if count >= self._limit]

    def prepare(self, request: JobRequest) -> Move | None:
        """Where the job can go; None where it stays."""
        if self._to_dedicated is None:
            return None
        try:
            return self._to_dedicated.prepare(request)
        except AzureBatchError as error:
            if not self._has_told:
                self._has_told = True
                self._say(f"Task {request.key} cannot go to dedicated nodes, and stays where it is: {error}")
            return None
