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


class _Wire(asyncio.Protocol):
    """What has come, and how the connection stands; wakes the one task that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.alarm = Alarm(loop)
        self.kernel = select.poll()
        self.buffer = b""
        self.ended = ""
        """Why nothing more will come; empty while the peer may speak."""
        self.writable = True
        self.encryption: Encryption | None = None
        self.shaking_hands = False
        self.arrived = False
        """Whether something came since this was last made False."""
        self._reading = True
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Writing pauses while anything is queued: what was drained is with the kernel, the rest can still be taken
        # back.
        self.transport.set_write_buffer_limits(high=0)
        self.kernel.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self.arrived = True
        if self.encryption is None:
            self.buffer += data
        else:
            self.encryption.receive(data)
            self.decrypt(self.encryption)
        if self._reading and len(self.buffer) > HIGH_WATER:
            self._reading = False
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.ended = self.ended or "closed by the peer"
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or str(exc or "closed")
        self._wake()

    def decrypt(self, encryption: Encryption) -> None:
        """Take in what can be read by now, once the handshake is over."""
        if self.shaking_hands:
            return
        try:
            self.buffer += encryption.plain()
        except TlsError as error:
            self.ended = self.ended or f"TLS: {error}"
            self.transport.abort()
            return
        if encryption.ended:
            self.ended = self.ended or "closed by the peer"
        if answer := encryption.to_send():  # such as to a new key (RFC 8446 4.6.3)
            self.transport.write(answer)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # its task may have been cancelled
            waiter.set_result(None)

    def _too_late(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(StreamTimeout("no answer in time"))

    def change(self, deadline: float) -> asyncio.Future[None]:
        """Done when something has come, or ended, or can be written again; StreamTimeout at ``deadline``."""
        if not self._reading and not self.ended:
            self._reading = True
            self.transport.resume_reading()
        self.alarm.set(deadline, self._too_late)
        self._waiter = waiter = self.loop.create_future()
        return waiter


async def _open(address: str) -> _Wire:
    loop = asyncio.get_running_loop()
    if address.startswith("unix:"):
        _, wire = await loop.create_unix_connection(lambda: _Wire(loop), address.removeprefix("unix:"))
        return wire
    host, _, port = address.rpartition(":")
    _, wire = await loop.create_connection(lambda: _Wire(loop), host.strip("[]"), int(port))
    return wire


class Stream:
    """One connection that we opened; made by :meth:`connect`.

    Attributes:
        alarm: rings while nobody waits on this stream, if its user sets it; every wait here sets it anew.
        time: the clock of deadlines.
    """

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self.alarm = wire.alarm
        self.time = wire.loop.time

    @classmethod
    async def connect(cls, address: str, deadline: float) -> Stream:
        """Connect to ``host:port``, ``[ipv6]:port`` or ``unix:/path`` (``config.SocketAddress``).

        Raises:
            StreamTimeout: no connection before ``deadline``.
            StreamClosed: refused or unreachable, or the host's name is not known.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return cls(await _open(address))
        except TimeoutError:
            raise StreamTimeout("no connection in time") from None
        except OSError as error:
            raise StreamClosed(str(error)) from error

    @property
    def ended(self) -> str:
        """Why the peer will say nothing more than is pending; empty while it may."""
        return self._wire.ended

    @property
    def pending(self) -> bool:
        """Whether the peer has said something that was not read yet."""
        return bool(self._wire.buffer)

    @property
    def certificate(self) -> bytes:
        """The peer's certificate in DER; empty without TLS."""
        return self._wire.encryption.certificate if self._wire.encryption else b""

    @property
    def quiet(self) -> bool:
        """Whether the peer has neither ended nor said anything that was not read yet."""
        return not (self._wire.ended or self._wire.buffer)

    async def start_tls(self, context: ssl.SSLContext, name: str | None, deadline: float) -> None:
        """Shake hands; all that follows is encrypted. ``name``: see :class:`~mailguard.net.encryption.Encryption`.

        Raises:
            StreamTimeout: not before ``deadline``.
            StreamClosed: the peer closed.
            StreamError: it failed, or the peer had said something before it.
        """
        wire = self._wire
        if wire.buffer:
            raise StreamError("octets before the TLS handshake")
        wire.encryption = encryption = Encryption(context, name)
        wire.shaking_hands = True
        try:
            while not encryption.shake_hands():
                wire.arrived = False
                self._write_raw(encryption.to_send())
                while not (wire.arrived or wire.ended):
                    await wire.change(deadline)
        except TlsError as error:
            wire.transport.write(encryption.to_send())
            raise StreamError(f"TLS: {error}") from error
        self._write_raw(encryption.to_send())
        wire.shaking_hands = False
        wire.decrypt(encryption)

    def take(self) -> bytes:
        """What has come and was not read yet; none where nothing has.

        Raises:
            StreamClosed: the peer closed, and all that it said was read.
        """
        wire = self._wire
        octets, wire.buffer = wire.buffer, b""
        if not octets and wire.ended:
            raise StreamClosed(wire.ended)
        return octets

    def change(self, deadline: float) -> asyncio.Future[None]:
        """Done when there may be more to :meth:`take`, which must be looked at then; StreamTimeout at ``deadline``."""
        return self._wire.change(deadline)

    def write(self, octets: bytes) -> None:
        """Queue ``octets`` for sending; :meth:`drain` keeps the queue short.

        Raises:
            StreamClosed: the peer has closed.
        """
        if (encryption := self._wire.encryption) is not None:
            try:
                octets = encryption.encrypt(octets)
            except TlsError as error:
                raise StreamClosed(f"TLS: {error}") from error
        self._write_raw(octets)

    def _write_raw(self, octets: bytes) -> None:
        wire = self._wire
        if wire.ended or wire.transport.is_closing():
            raise StreamClosed(wire.ended or "closed")
        wire.transport.write(octets)

    async def drain(self, deadline: float) -> None:
        """Wait until all is with the kernel, or the peer has spoken or closed (it may have stopped reading by then).

        Raises:
            StreamTimeout: none of these before ``deadline``.
        """
        wire = self._wire
        while not (wire.writable or wire.buffer or wire.ended):
            await wire.change(deadline)

    @property
    def stirs(self) -> bool:
        """Whether the kernel has something of the peer's for us, or its end, that the loop has not handed over yet."""
        return not self._wire.ended and bool(self._wire.kernel.poll(0))

    async def catch_up(self) -> None:
        """Let the loop take in what has arrived, so that :attr:`ended` and :attr:`pending` are of this moment."""
        for _ in range(2):  # asyncio polls the sockets in the first turn and hands over what came in the second
            await asyncio.sleep(0)

    def close(self) -> None:
        """Close without waiting; what the kernel does not take at once is dropped."""
        self.alarm.close()
        if self._wire.encryption and not self._wire.transport.is_closing():
            self._wire.transport.write(self._wire.encryption.goodbye())
        if self._wire.transport.get_write_buffer_size():
            self._wire.transport.abort()
        else:
            self._wire.transport.close()

    def abort(self) -> None:
        """Close at once: what is queued is not sent, and a waiting call raises :class:`StreamClosed`."""
        self.alarm.close()
        self._wire.ended = self._wire.ended or "closed by us"
        self._wire.transport.abort()
