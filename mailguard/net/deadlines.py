"""When to give up each of many waits that mostly end before: one timer of the event loop serves them all.

A timer for each, and its cancelling, would cost more than to send a question or to read a command. Here a wait is an
entry in a dictionary. The timer rings at the first deadline that it knew when it was set, tells those that are late by
then, and is set for the first of the rest, though not within :data:`STEP`: that bounds what it costs to look at all of
them where many are late one after the other.

Units: seconds of the loop's clock (``loop.time()``). Nobody is told early, and nobody later than :data:`STEP`.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

STEP: Final = 0.01
"""Seconds between two looks, at the least."""
_NEVER: Final = float("inf")


class Waiting(Protocol):
    """Something that has a deadline."""

    def late(self) -> None:
        """It has passed."""


class Deadlines:
    """The deadlines of all that wait; each of these has one. They belong to one event loop."""

    __slots__ = ("_deadlines", "_due", "_timer")

    def __init__(self) -> None:
        self._deadlines: dict[Waiting, float] = {}
        self._due = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def set(self, waiting: Waiting, deadline: float) -> None:
        """Tell ``waiting`` when it is ``deadline``, and not at the one that it had before."""
        self._deadlines[waiting] = deadline
        if deadline < self._due:
            self._set_timer(deadline)

    def clear(self, waiting: Waiting) -> None:
        """``waiting`` is over; if it was before, this does nothing."""
        self._deadlines.pop(waiting, None)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer, self._due = None, _NEVER
        now = asyncio.get_running_loop().time()
        try:
            for waiting in [waiting for waiting, deadline in self._deadlines.items() if deadline <= now]:
                if self._deadlines.get(waiting, _NEVER) <= now:  # what was told before may have ended it, or put it off
                    del self._deadlines[waiting]
                    waiting.late()
        finally:
            first = min(self._deadlines.values(), default=_NEVER)
            if first < self._due:
                self._set_timer(max(first, now + STEP))
