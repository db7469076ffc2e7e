"""One SMTP connection of the load: it pipelines (RFC 2920), and what came before a connection broke is still read.

``asyncio`` streams forget what they hold as soon as a connection is reset; who counts resets must tell a reset from a
421 with one behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

OK, GO_AHEAD = 250, 354


class Closed(ConnectionError):
    """The server has closed the connection in good order, and owes a reply."""


class Link(asyncio.Protocol):
    """A connection; ``await Link.to(port, address)`` makes it. Whoever waits here bounds it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._end: Exception | None = None
        self._changed = asyncio.Event()
        self.lines: list[bytes] = []
        """The last reply."""

    @classmethod
    async def to(cls, port: int, address: str) -> Link:
        """Connect as the client at ``address``, which a PROXY header names.

        Raises:
            OSError: the connection is refused.
        """
        _, link = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        link.send(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode())
        return link

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._changed.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end = exc or Closed()
        self._changed.set()

    def send(self, octets: bytes) -> None:
        """Write; what cannot be sent shows in the next :meth:`reply`."""
        if not self._transport.is_closing():
            self._transport.write(octets)

    async def reply(self) -> int:
        """The code of the next reply.

        Raises:
            Closed: there is none, and none will come.
            ConnectionError: the same, by a reset.
        """
        while not self._whole():
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        return int(self.lines[-1][:3])

    def _whole(self) -> bool:
        """Take a whole reply out of the buffer, if there is one."""
        lines, start = [], 0
        while (end := self._buffer.find(b"\r\n", start)) >= 0:
            lines.append(bytes(self._buffer[start:end]))
            start = end + 2
            if lines[-1][3:4] != b"-":
                del self._buffer[:start]
                self.lines = lines
                return True
        return False

    async def greet(self, helo: bytes) -> int:
        """Greeting and EHLO; 250, or the reply in which it ended."""
        code = await self.reply()
        if code != 220:
            return code
        self.send(b"EHLO %b\r\n" % helo)
        return await self.reply()

    async def envelope(self, sender: bytes, recipients: Sequence[bytes]) -> int:
        """MAIL, RCPT and DATA at once; 354, or the first reply that was no success."""
        commands = [b"MAIL FROM:<%b>" % sender, *(b"RCPT TO:<%b>" % recipient for recipient in recipients), b"DATA"]
        self.send(b"".join(command + b"\r\n" for command in commands))
        for _ in commands:
            if (code := await self.reply()) not in (OK, GO_AHEAD):
                return code
        return code

    async def content(self, octets: bytes) -> int:
        """The content, in which no line begins with a dot, and the reply to it."""
        self.send(octets + b".\r\n")
        return await self.reply()

    async def quit(self) -> None:
        """QUIT, and its reply.

        Raises:
            ConnectionError: there is none.
        """
        self.send(b"QUIT\r\n")
        await self.reply()

    @property
    def ended(self) -> bool:
        """Whether the server has ended it."""
        return self._end is not None

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()
