"""How long to wait before a process that died is started again. Pure; units: seconds."""

from __future__ import annotations


class Backoff:
    """Doubles from ``first`` to ``most``; begins anew behind a life of ``healthy_after``."""

    def __init__(self, first: float, most: float, healthy_after: float) -> None:
        self._first = first
        self._most = most
        self._healthy_after = healthy_after
        self._next = first

    def delay(self, lived: float) -> float:
        """The wait behind a process that lived for ``lived`` seconds."""
        if lived >= self._healthy_after:
            self._next = self._first
        wait = self._next
        self._next = min(self._most, 2 * wait)
        return wait
