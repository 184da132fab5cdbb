"""A bounded cache in front of the database that never keeps what was changed while it was being read.

A load that began before a `drop` is handed to its caller, and not remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from homeserver.runtime.bounded_cache import BoundedCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LoadingCache(Generic[K, V]):
    """`BoundedCache` with loading; values must not be None."""

    __slots__ = ("_drops", "cache")

    def __init__(self, name: str, limit: int, size_of: Callable[[V], int] = lambda _: 1) -> None:
        self.cache: BoundedCache[K, V] = BoundedCache(name, limit, size_of)
        self._drops = 0

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`, from `load` if it is not here."""
        found = self.cache.find(key)
        if found is not None:
            return found
        drops = self._drops
        value = await load()
        if drops == self._drops:
            self.cache.put(key, value)
        return value

    def drop(self, key: K) -> None:
        """The value of `key` has changed."""
        self._drops += 1
        self.cache.drop(key)

    def clear(self) -> None:
        """Nobody knows what has changed."""
        self._drops += 1
        self.cache.clear()
