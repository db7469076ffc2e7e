"""A circuit breaker: a peer that failed several times in a row is left alone for a while, so that nobody waits for it.

A table of three states; the clock is injected, in seconds that only grow.

    =========  =====================  ==========================================  =========================
    state      may it be asked?       it failed                                   it answered
    =========  =====================  ==========================================  =========================
    closed     yes                    after ``threshold`` times in a row: open    count from nothing again
    open       no                     (stays open, the pause begins again)        closed
    half-open  by one, once a pause   open                                        closed
    =========  =====================  ==========================================  =========================

Open becomes half-open when ``pause`` seconds have passed since the last failure. One who was let through and never
reports (it was cancelled) does not block the breaker: the next may try after another pause.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class State(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """The breaker of one peer: ``threshold`` failures in a row open it for ``pause`` seconds."""

    def __init__(self, threshold: int, pause: float, clock: Callable[[], float]) -> None:
        self._threshold = threshold
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._resume_at = 0.0

    @property
    def state(self) -> State:
        """The state now."""
        if self._failures < self._threshold:
            return State.CLOSED
        return State.OPEN if self._clock() < self._resume_at else State.HALF_OPEN

    def admit(self) -> bool:
        """Whether the peer may be asked now; in half-open, asking counts as the one trial."""
        if self._failures < self._threshold:
            return True
        half_open = self.state is State.HALF_OPEN
        if half_open:
            self._resume_at = self._clock() + self._pause
        return half_open

    def succeeded(self) -> None:
        """The peer answered."""
        self._failures = 0

    def failed(self) -> None:
        """The peer did not answer."""
        self._failures += 1
        self._resume_at = self._clock() + self._pause
