"""A scan within its bounds: a free connection, the time allowed, and what it means when the time runs out.

Each worker has so many connections to a scanner at the same time (clamd's MaxThreads, spamd's --max-children): more
would only wait inside the scanner, where nobody sees them. Waiting for one is part of the scan's time. Time is the
lesser of the scanner's own timeout and the absolute loop time that the caller gives (one budget for all scanners,
smtp.md).

When it runs out (docs/decisions/0040):

* while waiting for a free connection: DOWN, the scanner is overloaded and later is better;
* while scanning, and the scanner then answers a PING: UNSCANNABLE, this message is too much for it and later is no
  better;
* while scanning, and it answers no PING: DOWN.

The PING is part of the given time too, so a little is kept back for it. Units: seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from mailguard import metrics
from mailguard.facts import Answer, Cause, Known, Unknown
from mailguard.scanners.exchange import ScannerDown

T = TypeVar("T")

PING_TIME: Final = 1.0
"""Kept back for the PING after a scan that took too long, but never more than a fifth of the time there is."""


class Bounded:
    """What bounds the scans of one scanner.

    Args:
        name: the scanner's name in metrics and log.
        connections: scans at the same time.
        timeout: of one scan, in seconds.
        alive: asks the scanner for a sign of life; false or an unanswered wait is none.
        clock: seconds, for the duration of scans.
    """

    def __init__(
        self,
        name: str,
        connections: int,
        timeout: float,
        alive: Callable[[], Awaitable[bool]],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(connections)
        self._timeout = timeout
        self._alive = alive
        self._clock = clock
        self._seconds = metrics.SCAN_SECONDS.labels(scanner=name)
        self._waiting = metrics.SCANS_WAITING.labels(scanner=name)

    async def run(self, scan: Callable[[], Awaitable[Answer[T]]], deadline: float) -> Answer[T]:
        """The answer of ``scan``, or Unknown when ``deadline`` (loop time) or the timeout passes first."""
        started = self._clock()
        answer = await self._within(scan, deadline)
        self._seconds.observe(max(0.0, self._clock() - started))
        metrics.SCANS.labels(scanner=self._name, result=_result(answer)).inc()
        return answer

    async def _within(self, scan: Callable[[], Awaitable[Answer[T]]], deadline: float) -> Answer[T]:
        now = asyncio.get_running_loop().time()
        end = min(deadline, now + self._timeout)
        if end <= now:
            return Unknown(f"{self._name}: no time left")
        waiting = True
        try:
            async with asyncio.timeout_at(end - min(PING_TIME, (end - now) / 5)), self._free():
                waiting = False
                return await scan()
        except ScannerDown as error:
            return Unknown(f"{self._name}: {error}")
        except TimeoutError:
            if waiting:
                return Unknown(f"{self._name}: no free connection in time")
            return await self._late(end)

    @asynccontextmanager
    async def _free(self) -> AsyncIterator[None]:
        """A connection of those there are, as soon as one is free."""
        with self._waiting.track_inprogress():
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    async def _late(self, end: float) -> Unknown:
        try:
            async with asyncio.timeout_at(end):
                alive = await self._alive()
        except TimeoutError:
            alive = False
        if alive:
            return Unknown(f"{self._name}: too slow while the scanner is up", Cause.UNSCANNABLE)
        return Unknown(f"{self._name}: no answer in time")


def _result(answer: Answer[T]) -> str:
    if isinstance(answer, Unknown):
        return answer.cause.value
    return _known(answer)


def _known(answer: Known[T]) -> str:
    infected = getattr(answer.value, "infected", None)
    if infected is None:
        return "scored"
    return "infected" if infected else "clean"
