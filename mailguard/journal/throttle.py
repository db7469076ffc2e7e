"""How many refusals of one kind are recorded: a flood of them must not fill the disk, nor hide what else happens.

In each period, which the first of a kind begins, so many are admitted; of the rest one line tells at its end how many
there were, or before that at the end of the process (:meth:`Throttle.finish`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PERIOD: Final = 60.0
"""Seconds."""


class Throttle:
    """Admits ``limit`` of a kind in a period.

    Args:
        later: calls something in so many seconds.
        tell: told at the end of a period of which kind how many more there were.

    Kinds are to be few: each is remembered for one period.
    """

    def __init__(
        self,
        limit: int,
        later: Callable[[float, Callable[[], None]], object],
        tell: Callable[[str, int], None],
    ) -> None:
        self._limit = limit
        self._later = later
        self._tell = tell
        self._seen: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        """Count one of ``kind``; whether it is within the limit."""
        if kind not in self._seen:
            self._seen[kind] = 0
            self._later(PERIOD, lambda: self._over(kind))
        self._seen[kind] += 1
        return self._seen[kind] <= self._limit

    def finish(self) -> None:
        """The end: tell of what was not told yet."""
        for kind in list(self._seen):
            self._over(kind)

    def _over(self, kind: str) -> None:
        more = self._seen.pop(kind, 0) - self._limit
        if more > 0:
            self._tell(kind, more)
