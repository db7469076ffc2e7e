"""A connection that we accepted, as its handler sees it: octets in and out, and one bound for whatever it waits for.

asyncio's streams have a coroutine, a future and a timer for each read and each write. Here nothing is made where octets
are there already or the kernel takes them at once; where there is something to wait for, that is one future. There is
one alarm a connection (``net.alarm``).

Memory: beyond :data:`READ_SIZE` octets twice that nobody has taken we stop reading, which one last read of the loop
(256 KiB) may exceed; then the kernel's window closes. What is to be sent is bounded by whoever sends waiting for
:meth:`Wire.flushed`. Units: seconds of the event loop's clock.

Failure: whoever waits gets TimeoutError, or ConnectionError where the connection broke, however it did. Each is raised
anew: one that was kept would hold, by its traceback, all that belongs to the connection, in a circle.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from mailguard.net.alarm import Alarm

READ_SIZE: Final = 65536
"""Octets taken at once."""
_ENOUGH: Final = 2 * READ_SIZE
"""Octets that nobody has taken; beyond these reading stops."""


class Wire(asyncio.Protocol):
    """One end of a connection. One task at a time may wait, and nobody else does.

    Attributes:
        transport: set when the connection is made.
        congested: more was written than the kernel takes now.
        ended: the client will send no more.
    """

    __slots__ = (
        "_alarm",
        "_broken",
        "_event_loop",
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

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event_loop = loop
        self._received = b""
        self._taken = 0
        self._stopped = True  # by nobody, but TLS may hand on octets before it tells us that the connection is there
        self._broken = ""
        self._lost = False
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = Alarm(loop)
        self.congested = False
        self.ended = False

    # --- what the transport calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast(asyncio.Transport, transport)
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
            self._give_up()

    def take(self, at_most: int = READ_SIZE) -> bytes:
        """What is here, ``at_most`` so many octets; none where nothing is, or nothing will be.

        Raises:
            ConnectionError: the connection broke.
        """
        if self._broken:
            raise ConnectionResetError(self._broken)
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
        """Done when octets are here to be taken, or their end; TimeoutError where neither is by ``bound``.

        It is done when it is returned where they are here already, be that after ``bound``.
        """
        self._reading = True
        arrived = self._change(bound)
        if self._received or self.ended:
            arrived.set_result(None)
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
        if self._broken:
            raise ConnectionResetError(self._broken)

    def unwatched(self) -> None:
        """No bound holds any more, for nobody will wait."""
        self._alarm.close()

    # --- inside -------------------------------------------------------------------------------------------------

    def _change(self, bound: float) -> asyncio.Future[None]:
        """Done when something changes: octets came, or their end, writing is possible again, the connection is over.

        What is waited for must be looked at then. TimeoutError at the time ``bound``.
        """
        self._alarm.set(bound, self._give_up)
        self._waiter = waiter = self._event_loop.create_future()
        return waiter

    def _give_up(self) -> None:
        """Who waits gets TimeoutError now."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # its task may have been cancelled
            waiter.set_result(None)
