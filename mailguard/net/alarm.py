"""A timer that is set and cleared for every wait, and seldom rings: one timer of the event loop serves them all.

``loop.call_later`` for each wait, and its cancelling, would cost more than most waits. Here setting and clearing is a
matter of attributes; the loop's timer is touched when none runs or the one that runs would be late. Where it falls due
and the alarm was put off meanwhile it is set again, for the rest.

Units: seconds of the loop's clock (``loop.time()``). It never rings early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_NEVER: Final = float("inf")


class Alarm:
    """One alarm of ``loop``; :meth:`close` it, or it is held until its timer falls due."""

    __slots__ = ("__weakref__", "_deadline", "_due", "_loop", "_ring", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._due = _NEVER
        self._deadline = _NEVER
        self._ring: Callable[[], None] | None = None

    def set(self, deadline: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at ``deadline``, and nothing else that was set before."""
        self._deadline = deadline
        self._ring = ring
        if deadline < self._due:
            self._start(deadline)

    def clear(self) -> None:
        """Ring no more, until it is set again."""
        self._ring = None

    def close(self) -> None:
        """Let go of what it would call; it can be set again."""
        self._ring = None
        self._due = _NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._fall_due)

    def _fall_due(self) -> None:
        self._timer, self._due = None, _NEVER
        if self._ring is None:
            return
        if self._loop.time() < self._deadline:
            self._start(self._deadline)
        else:
            ring, self._ring = self._ring, None
            ring()
