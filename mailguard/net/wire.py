"""A connection that we accepted, as its handler sees it: octets in and out, and one bound for whatever it waits for.

asyncio's streams have a coroutine, a future and a timer for each read and each write. Here nothing is made where octets
are there already or the kernel takes them at once; where there is something to wait for, that is one future. All wires
of a listener have one timer (``net.deadlines``).

Memory: beyond :data:`READ_SIZE` octets twice that nobody has taken we stop reading, which one last read of the loop
(256 KiB) may exceed; then the kernel's window closes. What is to be sent is bounded by whoever sends waiting for
:meth:`Wire.flushed`. Units: seconds of the event loop's clock.

Failure: whoever waits gets TimeoutError, or ConnectionError where the connection broke, however it did. Each is raised
anew: one that was kept would hold, by its traceback, all that belongs to the connection, in a circle.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mailguard.net.deadlines import Deadlines

READ_SIZE: Final = 65536
"""Octets taken at once."""
_ENOUGH: Final = 2 * READ_SIZE
"""Octets that nobody has taken; beyond these reading stops."""


class Wire(asyncio.Protocol):
    """One end of a connection. One task at a time may wait, and nobody else does.

    Args:
        deadlines: those of all wires of this loop.

    Attributes:
        transport: set when the connection is made.
        congested: more was written than the kernel takes now.
        ended: the client will send no more.
    """

    __slots__ = (
        "_broken",
        "_deadlines",
        "_event_loop",
        "_late",
        "_lost",
        "_reading",
        "_received",
        "_stopped",
        "_taken",
        "_waiter",
        "congested",
        "ended",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._event_loop = loop
        self._received = b""
        self._taken = 0
        self._stopped = True  # by nobody, but TLS may hand on octets before it tells us that the connection is there
        self._broken = ""
        self._late = False
        self._lost = False
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._deadlines = deadlines
        self.congested = False
        self.ended = False

    # --- what the transport calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = transport  # type: ignore[assignment]  # cast() is a call
        self._stopped = False

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        if self._received:
            data = self._received[self._taken :] + data
            self._taken = 0
        self._received = data
        if len(data) > _ENOUGH and not self._stopped:
            self._stopped = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool | None:
        """The client sends no more; we may."""
        self.ended = True
        self._wake()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing comes and nothing goes any more."""
        self.ended = self._lost = True
        if error is not None:
            self._broken = str(error) or type(error).__name__
        self._wake()
        self.unwatched()

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self.congested = True

    def resume_writing(self) -> None:
        """It does again."""
        self.congested = False
        if not self._reading:
            self._wake()

    # --- for the handler ----------------------------------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether nothing is here to be taken, nor the end."""
        return not (self._received or self.ended)

    def interrupt(self) -> None:
        """Who waits for octets gets TimeoutError now; who waits for anything else does not."""
        if self._reading:
            self.late()

    def expire(self) -> None:
        """What is here was waited for too long: :meth:`take` says so."""
        self._late = True

    def take(self, at_most: int = READ_SIZE) -> bytes:
        """What is here, ``at_most`` so many octets; none where nothing is, or nothing will be.

        Raises:
            TimeoutError: it was waited for, and came too late.
            ConnectionError: the connection broke.
        """
        if self._broken:
            raise ConnectionResetError(self._broken)
        if self._late:
            raise TimeoutError
        received, start = self._received, self._taken
        if len(received) - start > at_most:
            self._taken = start + at_most
            return received[start : self._taken]
        self._received = b""
        if self._stopped and not self._lost:
            self._stopped = False
            self.transport.resume_reading()
        if start:
            self._taken = 0
            return received[start:]
        return received

    async def read(self, bound: float) -> bytes:
        """The next octets, none at the end.

        Raises:
            TimeoutError: none came until ``bound``.
            ConnectionError: the connection broke.
        """
        await self.arrival(bound)
        return self.take()

    def arrival(self, bound: float) -> asyncio.Future[None]:
        """Done when octets are here to be taken, or their end, or neither is by ``bound``: :meth:`take` tells.

        It is done when it is returned where they are here already, be that after ``bound``.
        """
        self._reading, self._late = True, False
        self._waiter = arrived = self._event_loop.create_future()
        if self._received or self.ended:
            arrived.set_result(None)
        else:
            self._deadlines.set(self, bound)
        return arrived

    async def flushed(self, bound: float) -> None:
        """Wait until the kernel has taken enough of what was written.

        Raises:
            TimeoutError: it did not until ``bound``.
            ConnectionError: the connection is over.
        """
        self._reading = False
        while self.congested and not self._lost:
            await self._change(bound)
            self._in_time()
        if self._lost:
            raise ConnectionResetError(self._broken or "the connection is over")

    async def closed(self, bound: float) -> None:
        """Close, and wait until what was written has been sent.

        Raises:
            TimeoutError: it was not until ``bound``.
            ConnectionError: the connection broke.
        """
        self.transport.close()
        self._reading = False
        while not self._lost:
            await self._change(bound)
            self._in_time()
        if self._broken:
            raise ConnectionResetError(self._broken)

    def unwatched(self) -> None:
        """No bound holds any more, for nobody will wait."""
        self._deadlines.clear(self)

    # --- inside -------------------------------------------------------------------------------------------------

    def _change(self, bound: float) -> asyncio.Future[None]:
        """Done when something changes: octets came, or their end, writing is possible again, the connection is over.

        Or when it is ``bound``. What is waited for must be looked at then.
        """
        self._late = False
        self._waiter = waiter = self._event_loop.create_future()
        self._deadlines.set(self, bound)
        return waiter

    def _in_time(self) -> None:
        if self._late:
            raise TimeoutError

    def late(self) -> None:
        """Who waits gets TimeoutError now."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self._late = True
            waiter.set_result(None)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # its task may have been cancelled
            waiter.set_result(None)
