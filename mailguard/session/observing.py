"""The emergency switch: until a time the policy only observes, in all sessions at once (decision 0144).

It is no part of the policy and of no session, so that it works where it is needed: at once, in sessions that have been
open for an hour too, and without a file being touched.
"""

from __future__ import annotations

from collections.abc import Callable


class Switch:
    """On until :attr:`until`, in seconds of ``clock`` (Unix time); 0: off."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until = 0.0

    @property
    def on(self) -> bool:
        """Whether the policy only observes now."""
        return self.until > 0 and self._clock() < self.until
