"""What goes wrong with the journal: counted always, logged once in a while, and once more when it is over.

A disk that is full fails a thousand times a second; the log is told of the first time, then once in :data:`INTERVAL`
seconds, and how many records were lost meanwhile. Safe from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from mailguard import metrics
from mailguard.log import logger

INTERVAL: Final = 60.0
"""Seconds between two lines of the log about the same trouble."""


class Trouble:
    """One kind of trouble.

    Args:
        operation: label of the metric: ``write``, ``seal``, ``expire``, ``overflow``.
        path: the journal's folder.
        clock: seconds that only grow.
    """

    def __init__(self, operation: str, path: str, clock: Callable[[], float]) -> None:
        self._operation = operation
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._told = float("-inf")
        self._lost = 0
        self._open = False

    def happened(self, why: str, lost: int = 0) -> None:
        """It failed, and so many records are ``lost``."""
        metrics.JOURNAL_ERRORS.labels(self._operation).inc()
        with self._lock:
            self._lost += lost
            if self._clock() - self._told < INTERVAL:
                return
            self._told = self._clock()
            self._open = True
            lost, self._lost = self._lost, 0
        logger.error("journal failed", path=self._path, operation=self._operation, error=why, count=lost)

    def over(self) -> None:
        """It works; if the log was told that it does not, it is told."""
        if not self._open:  # asked without the lock, for this is called with every write
            return
        with self._lock:
            self._open = False
            lost, self._lost = self._lost, 0
        logger.info("journal works again", path=self._path, operation=self._operation, count=lost)
