"""The spools of all sessions: where they lie, and whether that works (for /readyz).

Failure: counted, logged at level error with the message's reference, and remembered for :data:`REMEMBERED` seconds, for
a disk that has room for the one octet that a trial writes may have none for a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mailguard import metrics
from mailguard.log import logger
from mailguard.spool import Folder, Spool, SpoolError, why_unusable

REMEMBERED: Final = 60.0
"""Seconds after a failure during which clients should go elsewhere."""


class Spooling:
    """Makes spools.

    Args:
        memory_limit: octets of one message that stay in memory.
        folder: for longer ones.
        clock: seconds that only grow.
    """

    def __init__(self, memory_limit: int, folder: Folder, clock: Callable[[], float]) -> None:
        self._memory_limit = memory_limit
        self._folder = folder
        self._clock = clock
        self._failed_until = float("-inf")
        self._why = ""

    def begin(self) -> Spool:
        """A spool for one message."""
        return Spool(self._memory_limit, self._folder)

    def lacking(self, octets: int) -> str:
        """Why there is no room now for a message of ``octets``; empty where there is, or where it stays in memory."""
        return self._folder.lacking(octets) if octets > self._memory_limit else ""

    def failed(self, error: SpoolError, reference: str) -> None:
        """A message could not be kept: log it, and remember it for a while."""
        metrics.SPOOL_FAILURES.inc()
        logger.error("spool failed", ref=reference, error=str(error))
        self._failed_until = self._clock() + REMEMBERED
        self._why = str(error)

    def trouble(self) -> str:
        """Why long messages are deferred now; empty where they can be kept."""
        return self._why if self._clock() < self._failed_until else why_unusable(self._folder)
