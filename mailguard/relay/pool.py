"""Connections to one backend that wait for their next message, the one used last in front.

Only where no client is named to the backend: a PROXY header or XCLIENT makes a connection one client's (decision 0090).
A connection waits ``backend_reuse_timeout`` seconds at the most, and is asked whether it still lives before it is given
out; what is not seen even then shows at its first command, before anything was promised.
"""

from __future__ import annotations

from functools import partial

from mailguard.relay.backend import Dialogue


class Pool:
    """Idle connections; ``seconds``: how long one may wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Dialogue, None] = {}

    def take(self) -> Dialogue | None:
        """One that lives; None where there is none."""
        while self._waiting:
            dialogue, _ = self._waiting.popitem()
            dialogue.rouse()
            if dialogue.reusable():
                return dialogue
            dialogue.quit()
        return None

    def put(self, dialogue: Dialogue) -> None:
        """Let ``dialogue``, which is :attr:`~mailguard.relay.backend.Dialogue.reusable`, wait."""
        self._waiting[dialogue] = None
        dialogue.rest(self._seconds, partial(self._expire, dialogue))

    def close(self) -> None:
        """End them all."""
        while self._waiting:
            dialogue, _ = self._waiting.popitem()
            dialogue.quit()

    def _expire(self, dialogue: Dialogue) -> None:
        del self._waiting[dialogue]
        dialogue.quit()
