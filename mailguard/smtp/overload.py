"""How late the event loop is, and when that is too much for new clients.

Whatever a worker does, it does in one event loop: one that has more to do than time comes to everything late. A timer
that fires late measures by how much. A loop that is late once (a policy was compiled, the disk hung) is well again by
itself; one that is late all the time has a queue that stands, and every client let in makes it longer for those who
are in the middle of a message. So it is the least lag in a while that counts, as in CoDel (RFC 8289 3): overloaded is
who was later than ``max_loop_lag`` at every measurement for ``overload_after``, until at every one for
``overload_recovery`` it was less than half of that late. Between the two nothing changes, and a loop at the limit
does not let clients in and out by turns.

Units: seconds, of the event loop's own clock.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mailguard import metrics
from mailguard.config import Limits
from mailguard.log import logger

_CALM: Final = 0.5
"""Part of ``max_loop_lag`` below which a loop is well."""


class Overload:
    """Whether one event loop is overloaded."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._overloaded = False
        self._since: float | None = None

    def __call__(self) -> bool:
        """Whether strangers are to be turned away."""
        return self._overloaded

    def measured(self, lag: float, now: float) -> None:
        """At the time ``now`` the loop was ``lag`` late."""
        metrics.LOOP_LAG.observe(lag)
        limits = self._limits
        if not limits.max_loop_lag:
            return
        if self._overloaded:
            changes, bound = lag < limits.max_loop_lag * _CALM, limits.overload_recovery
        else:
            changes, bound = lag >= limits.max_loop_lag, limits.overload_after
        if not changes:
            self._since = None
            return
        if self._since is None:
            self._since = now
        if now - self._since >= bound:
            self._turn(lag)

    def _turn(self, lag: float) -> None:
        self._overloaded, self._since = not self._overloaded, None
        metrics.OVERLOADED.set(self._overloaded)
        if self._overloaded:
            logger.warning("overloaded", seconds=round(lag, 3))
        else:
            logger.info("overload over")

    async def watch(self) -> None:
        """Measure for ever."""
        loop, interval = asyncio.get_running_loop(), self._limits.lag_interval
        while True:
            due = loop.time() + interval
            await asyncio.sleep(interval)
            self.measured(max(0.0, loop.time() - due), loop.time())
