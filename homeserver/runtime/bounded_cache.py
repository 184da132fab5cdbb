"""A cache bounded by size: two generations of a dict, so that a hit costs little more than a dict's.

What was not asked for during a whole generation is dropped with it; hits and misses are counted for the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most about `limit` in size, as measured by `size_of` (by default the number of entries)."""

    __slots__ = ("_limit", "_old", "_size", "_size_of", "_young", "hits", "misses", "name")

    def __init__(self, name: str, limit: int, size_of: Callable[[V], int] = lambda _: 1) -> None:
        self.name = name
        self.hits = 0
        self.misses = 0
        self._limit = max(2, limit) // 2
        self._size_of = size_of
        self._size = 0
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def find(self, key: K) -> V | None:
        """The value, or None when it is not here."""
        value = self._young.get(key)
        if value is not None:
            self.hits += 1
            return value
        value = self._old.pop(key, None)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value; the oldest half goes when there is no room."""
        self._size += self._size_of(value)
        if self._size > self._limit:
            self._old = self._young
            self._young = {}
            self._size = self._size_of(value)
        self._young[key] = value

    def charge(self, size: int) -> None:
        """A value that is here has grown by so much."""
        self._size += size

    def drop(self, key: K) -> None:
        """Forget a value."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old, self._size = {}, {}, 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
