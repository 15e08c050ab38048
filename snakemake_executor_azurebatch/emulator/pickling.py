"""How rows of the saved state are written and read: pickles of this package's own plain classes.

Reading makes only those classes and a few plain ones of Python, whatever the bytes say.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import cache
from typing import Any

from snakemake_executor_azurebatch.emulator import dependencies, events, instructions, model
from snakemake_executor_azurebatch.emulator.model import Job, Node, Pool, Run, Task
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.watched import Watched

#: Kept in rows of their own, or made again from them.
_LEFT_OUT: dict[type, dict[str, Callable[[], Any]]] = {
    Job: {"tasks": Watched, "waiting": dict, "order": lambda: None, "runs": dict},
    Pool: {"nodes": Watched},
    Node: {"runs": dict},
}
_MODULES = (model, events, instructions, dependencies)
_ENTITIES = (Pool, Node, Job, Task)


def layout() -> str:
    """A name for what the rows look like: it changes with every field of every class in them."""
    classes = {thing for thing in (*_classes(), State) if is_dataclass(thing)}
    lines = sorted(f"{getattr(each, '__qualname__', '')}: {[field.name for field in fields(each)]}" for each in classes)
    return "1-" + hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class _Writer(pickle.Pickler):
    """Runs inside others are written as their numbers."""

    def __init__(self, stream: io.BytesIO, root: object) -> None:
        super().__init__(stream, protocol=5)
        self._root = root

    def reducer_override(self, value: Any) -> Any:  # noqa: ANN401 (any object can come)
        """How one object that is not built in is written."""
        if value is self._root and type(value) in _LEFT_OUT:
            fresh = _LEFT_OUT[type(value)]
            names = [field.name for field in fields(value)]  # type: ignore[arg-type]  # a Job or a Pool
            kept = {name: fresh[name]() if name in fresh else getattr(value, name) for name in names}
            return _make, (type(value).__name__, kept)
        if value is self._root:
            return NotImplemented
        if isinstance(value, Enum):  # else some Pythons (seen with 3.11.2) write a call of getattr
            return type(value), (value.value,)
        if isinstance(value, Run):
            return _run, (value.number,)
        if isinstance(value, Watched):
            return _make, ("Watched", {})
        if isinstance(value, _ENTITIES):
            raise TypeError(f"{type(value).__name__} inside {type(self._root).__name__} cannot be kept")
        return NotImplemented


def dump(value: object) -> bytes:
    """The bytes of one row."""
    stream = io.BytesIO()
    _Writer(stream, value).dump(value)
    return stream.getvalue()


def _make(name: str, values: Mapping[str, Any]) -> object:
    if name == "Watched":
        return Watched()
    return {"Job": Job, "Pool": Pool, "Node": Node}[name](**values)


def _run(number: int) -> Run | None:
    """Stands in a file for a run; _Reader puts the run itself there."""
    raise NotImplementedError(number)


def load(body: bytes, runs: Mapping[int, Run]) -> Any:  # noqa: ANN401 (the caller knows what it wrote)
    """What a row holds; the runs that it names come from ``runs``. Raises ValueError and others."""
    try:
        return _Reader(body, runs).load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error


class _Reader(pickle.Unpickler):
    """Makes only what _Writer writes."""

    def __init__(self, body: bytes, runs: Mapping[int, Run]) -> None:
        super().__init__(io.BytesIO(body))
        self._runs = runs

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (classes and two functions)
        """The named class, if it is one of ours or of the few plain ones."""
        if (module, name) == (__name__, "_run"):
            return self._runs.get
        if (module, name) == (__name__, "_make"):
            return _make
        found = _known_classes().get(f"{module}.{name}")
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into a state")
        return found


@cache
def _known_classes() -> dict[str, Any]:
    return {f"{each.__module__}.{each.__qualname__}": each for each in _classes()}


def _classes() -> Iterator[Any]:
    """Whatever may be in a row."""
    yield from (deque, defaultdict, datetime, timezone, timedelta)
    for module in _MODULES:
        for thing in vars(module).values():
            if isinstance(thing, type) and (is_dataclass(thing) or issubclass(thing, Enum)):
                yield thing
