"""The spools of all sessions: where they lie, and whether that works (for /readyz).

Failure: logged at level error with the message's reference, and remembered for :data:`REMEMBERED` seconds, for a disk
that has room for the one octet that a trial writes may have none for a message.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mailguard.log import logger
from mailguard.spool import Spool, SpoolError, why_unusable

REMEMBERED: Final = 60.0
"""Seconds after a failure during which clients should go elsewhere."""


class Spooling:
    """Makes spools.

    Args:
        memory_limit: octets of one message that stay in memory.
        directory: the folder for longer ones, None for the system's temporary folder.
        clock: seconds that only grow.
    """

    def __init__(self, memory_limit: int, directory: Path | None, clock: Callable[[], float]) -> None:
        self._memory_limit = memory_limit
        self._directory = directory
        self._clock = clock
        self._failed_until = float("-inf")
        self._why = ""

    def begin(self) -> Spool:
        """A spool for one message."""
        return Spool(self._memory_limit, self._directory)

    def failed(self, error: SpoolError, reference: str) -> None:
        """A message could not be kept: log it, and remember it for a while."""
        logger.error("spool failed", ref=reference, error=str(error))
        self._failed_until = self._clock() + REMEMBERED
        self._why = str(error)

    def trouble(self) -> str:
        """Why long messages are deferred now; empty where they can be kept."""
        return self._why if self._clock() < self._failed_until else why_unusable(self._directory)
