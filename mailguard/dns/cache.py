"""Answers kept for their time to live, the least recently used dropped first when there are too many.

Memory is bounded by the number of answers, time by ``max_ttl``. The clock is an argument (seconds, any origin).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """At the most ``size`` values, each for its TTL and no longer than ``max_ttl`` seconds."""

    def __init__(self, size: int, max_ttl: float, clock: Callable[[], float]) -> None:
        self._size = size
        self._max_ttl = max_ttl
        self._clock = clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of ``key``, or None where there is none or its time is over."""
        entry = self.entry(key)
        return None if entry is None else entry[1]

    def entry(self, key: K) -> tuple[float, V] | None:
        """The same with the time at which it will be over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: K, value: V, ttl: float) -> float:
        """Keep ``value`` for ``ttl`` seconds; a TTL of 0 is for this once only and keeps nothing (RFC 1035 3.2.1).

        Returns:
            When its time is over; now, where it is not kept.
        """
        entries, now = self._entries, self._clock()
        expires = now + min(ttl, self._max_ttl)
        if expires <= now or self._size <= 0:
            entries.pop(key, None)
            return now
        entries[key] = (expires, value)
        entries.move_to_end(key)
        if len(entries) > self._size:
            entries.popitem(last=False)
        return expires
