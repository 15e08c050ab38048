"""A dictionary that notes which of its entries were handed out, so that only those are looked at when saving."""

from __future__ import annotations

from typing import Any, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class Watched(dict[K, V]):
    """Entries may be changed by whoever gets them one by one; ``touched`` holds their keys.

    Iterating (``values``, ``items``) does not touch: most walks only look.
    """

    __slots__ = ("touched",)

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[K] = set()

    def __getitem__(self, key: K) -> V:
        self.touched.add(key)
        return super().__getitem__(key)

    def __setitem__(self, key: K, value: V) -> None:
        self.touched.add(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self.touched.add(key)
        super().__delitem__(key)

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V, /) -> V: ...
    @overload
    def get(self, key: K, default: D, /) -> V | D: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        """The value, or the default."""
        self.touched.add(key)
        return super().get(key, default)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V, /) -> V: ...
    @overload
    def pop(self, key: K, default: D, /) -> V | D: ...
    def pop(self, key: K, /, *default: Any) -> Any:
        """Take the value out."""
        self.touched.add(key)
        return super().pop(key, *default)

    def touch(self, key: K) -> None:
        """Say that the entry is about to change."""
        self.touched.add(key)

    def take_touched(self) -> set[K]:
        """The touched keys; none is touched any more."""
        taken, self.touched = self.touched, set()
        return taken
