"""A client connection with a deadline on every wait, encrypted from :meth:`Stream.start_tls` on.

``deadline`` is always absolute, in seconds of the running loop's clock (``loop.time()``), so that one bound covers
many calls. What the peer sends unasked is held up to about :data:`HIGH_WATER` octets, then it must wait.

It is built on asyncio's transports rather than its streams for one reason: what the peer said before the connection
broke stays readable. A server that refuses in the middle of our content answers, closes, and makes our next write fail;
with ``StreamReader`` the failed write hides the answer.

One task uses a stream at a time; :meth:`Stream.abort` may be called from anywhere. Failure: :class:`StreamError`, whose
text is a private cause for the log. After any failure the stream is good for :meth:`Stream.abort` only.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from functools import partial
from typing import Final, cast

from mailguard.net.alarm import Alarm
from mailguard.net.encryption import Encryption, TlsError

HIGH_WATER: Final = 65_536
"""Octets held unread before the peer is made to wait."""


class StreamError(Exception):
    """The connection could not be made, or cannot be used any more."""


class StreamClosed(StreamError):
    """The peer has closed, or the connection broke."""


class StreamTimeout(StreamError):
    """The deadline passed."""


class Stream(asyncio.Protocol):
    """One connection that we opened; made by :meth:`connect`.

    Attributes:
        alarm: rings while nobody waits on this stream, if its user sets it; every wait here sets it anew.
        time: the clock of deadlines.
        received: what the peer has said and nobody has read.
        ended: why the peer will say nothing more than that; empty while it may.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.alarm = Alarm(loop)
        self.time = loop.time
        self.received = b""
        self.ended = ""
        self._make_waiter = loop.create_future
        self._kernel = select.poll()
        self._writable = True
        self._reading = True
        self._encryption: Encryption | None = None
        self._shaking_hands = False
        self._arrived = False
        """Whether something encrypted came since this was last made False."""
        self._waiter: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, address: str, deadline: float) -> Stream:
        """Connect to ``host:port``, ``[ipv6]:port`` or ``unix:/path`` (``config.SocketAddress``).

        Raises:
            StreamTimeout: no connection before ``deadline``.
            StreamClosed: refused or unreachable, or the host's name is not known.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await cls._open(address)
        except TimeoutError:
            raise StreamTimeout("no connection in time") from None
        except OSError as error:
            raise StreamClosed(str(error)) from error

    @classmethod
    async def _open(cls, address: str) -> Stream:
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            _, stream = await loop.create_unix_connection(partial(cls, loop), address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            _, stream = await loop.create_connection(partial(cls, loop), host.strip("[]"), int(port))
        return stream

    # --- what the transport calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast(asyncio.Transport, transport)
        # Writing pauses while anything is queued: what was drained is with the kernel, the rest can still be taken
        # back.
        self.transport.set_write_buffer_limits(high=0)
        self._kernel.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        if self._encryption is None:
            self.received += data
        else:
            self._arrived = True
            self._encryption.receive(data)
            self._decrypt(self._encryption)
        if len(self.received) > HIGH_WATER and self._reading:
            self._reading = False
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The peer sends no more."""
        self.ended = self.ended or "closed by the peer"
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes and nothing goes any more."""
        self.ended = self.ended or str(exc or "closed")
        self._wake()

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._writable = False

    def resume_writing(self) -> None:
        """It does again."""
        self._writable = True
        self._wake()

    # --- for its user -------------------------------------------------------------------------------------------

    @property
    def certificate(self) -> bytes:
        """The peer's certificate in DER; empty without TLS."""
        return self._encryption.certificate if self._encryption else b""

    async def start_tls(self, context: ssl.SSLContext, name: str | None, deadline: float) -> None:
        """Shake hands; all that follows is encrypted. ``name``: see :class:`~mailguard.net.encryption.Encryption`.

        Raises:
            StreamTimeout: not before ``deadline``.
            StreamClosed: the peer closed.
            StreamError: it failed, or the peer had said something before it.
        """
        if self.received:
            raise StreamError("octets before the TLS handshake")
        self._encryption = encryption = Encryption(context, name)
        self._shaking_hands = True
        try:
            while not encryption.shake_hands():
                self._arrived = False
                self._write_raw(encryption.to_send())
                while not (self._arrived or self.ended):
                    await self.change(deadline)
        except TlsError as error:
            self.transport.write(encryption.to_send())
            raise StreamError(f"TLS: {error}") from error
        self._write_raw(encryption.to_send())
        self._shaking_hands = False
        self._decrypt(encryption)

    def take(self) -> bytes:
        """What has come and was not read yet; none where nothing has.

        Raises:
            StreamClosed: the peer closed, and all that it said was read.
        """
        octets, self.received = self.received, b""
        if not octets and self.ended:
            raise StreamClosed(self.ended)
        return octets

    def change(self, deadline: float) -> asyncio.Future[None]:
        """Done when something has come, or ended, or can be written again, which must be looked at then.

        StreamTimeout at ``deadline``.
        """
        if not self._reading and not self.ended:
            self._reading = True
            self.transport.resume_reading()
        self.alarm.set(deadline, self._too_late)
        self._waiter = waiter = self._make_waiter()
        return waiter

    def write(self, octets: bytes) -> None:
        """Queue ``octets`` for sending; :meth:`drain` keeps the queue short.

        Raises:
            StreamClosed: the peer has closed.
        """
        if self._encryption is not None:
            try:
                octets = self._encryption.encrypt(octets)
            except TlsError as error:
                raise StreamClosed(f"TLS: {error}") from error
        self._write_raw(octets)

    async def drain(self, deadline: float) -> None:
        """Wait until all is with the kernel, or the peer has spoken or closed (it may have stopped reading by then).

        Raises:
            StreamTimeout: none of these before ``deadline``.
        """
        while not (self._writable or self.received or self.ended):
            await self.change(deadline)

    @property
    def stirs(self) -> bool:
        """Whether the kernel has something of the peer's for us, or its end, that the loop has not handed over yet."""
        return not self.ended and bool(self._kernel.poll(0))

    async def catch_up(self) -> None:
        """Let the loop take in what has arrived, so that ``ended`` and ``received`` are of this moment."""
        for _ in range(2):  # asyncio polls the sockets in the first turn and hands over what came in the second
            await asyncio.sleep(0)

    def close(self) -> None:
        """Close without waiting; what the kernel does not take at once is dropped."""
        self.alarm.close()
        if self._encryption and not self.transport.is_closing():
            self.transport.write(self._encryption.goodbye())
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def abort(self) -> None:
        """Close at once: what is queued is not sent, and a waiting call raises :class:`StreamClosed`."""
        self.alarm.close()
        self.ended = self.ended or "closed by us"
        self.transport.abort()

    # --- inside -------------------------------------------------------------------------------------------------

    def _write_raw(self, octets: bytes) -> None:
        if self.ended or self.transport.is_closing():
            raise StreamClosed(self.ended or "closed")
        self.transport.write(octets)

    def _decrypt(self, encryption: Encryption) -> None:
        """Take in what can be read by now, once the handshake is over."""
        if self._shaking_hands:
            return
        try:
            self.received += encryption.plain()
        except TlsError as error:
            self.ended = self.ended or f"TLS: {error}"
            self.transport.abort()
            return
        if encryption.ended:
            self.ended = self.ended or "closed by the peer"
        if answer := encryption.to_send():  # such as to a new key (RFC 8446 4.6.3)
            self.transport.write(answer)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # its task may have been cancelled
            waiter.set_result(None)

    def _too_late(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(StreamTimeout("no answer in time"))
