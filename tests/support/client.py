"""A raw SMTP client for tests: it sends the octets that it is given and reads whole replies; nothing is corrected.

async with await Client.connect("127.0.0.1", port, proxy=proxy_v1("198.18.1.10")) as client:
    await client.reply()                                  # the greeting
    assert (await client.command(b"EHLO x.example"))[-1].startswith(b"250 ")
    await client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from ipaddress import ip_address
from types import TracebackType

TIMEOUT = 60.0
"""Seconds that any one wait of a test client may last."""


def proxy_v1(source: str, port: int = 40000, destination: str = "", destination_port: int = 25) -> bytes:
    """A PROXY v1 header (PROXY protocol 2.1) naming ``source`` as the client."""
    family = 4 if ip_address(source).version == 4 else 6
    to = destination or ("127.0.0.1" if family == 4 else "::1")
    return f"PROXY TCP{family} {source} {to} {port} {destination_port}\r\n".encode()


def proxy_v2(source: str, port: int = 40000, destination: str = "", destination_port: int = 25) -> bytes:
    """A PROXY v2 header (PROXY protocol 2.2) naming ``source`` as the client."""
    ip = ip_address(source)
    to = ip_address(destination or ("127.0.0.1" if ip.version == 4 else "::1"))
    body = ip.packed + to.packed + struct.pack("!HH", port, destination_port)
    family = 0x11 if ip.version == 4 else 0x21
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes((0x21, family)) + struct.pack("!H", len(body)) + body


def proxy_v2_local() -> bytes:
    """A PROXY v2 header of a connection of the proxy's own (LOCAL)."""
    return b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


class Client:
    """One connection. Every wait is bounded by :data:`TIMEOUT`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, *, proxy: bytes = b"", local: str = "") -> Client:
        """Connect (from the address ``local``, if given) and send ``proxy``; the greeting is not read yet."""
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(
                host, port, limit=1 << 20, local_addr=(local, 0) if local else None
            )
        client = cls(reader, writer)
        if proxy:
            await client.send(proxy)
        return client

    async def send(self, octets: bytes) -> None:
        """Write ``octets`` exactly."""
        async with asyncio.timeout(TIMEOUT):
            self.writer.write(octets)
            await self.writer.drain()

    async def line(self) -> bytes:
        """One line with its line end; empty at the end of the connection."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.readline()

    async def reply(self) -> list[bytes]:
        """One whole reply, a list of lines without CR LF; an empty list once the server has closed."""
        lines: list[bytes] = []
        while line := await self.line():
            lines.append(line.removesuffix(b"\r\n"))
            if line[3:4] != b"-":
                break
        return lines

    async def command(self, line: bytes) -> list[bytes]:
        """Send ``line`` with CR LF and read one reply."""
        await self.send(line + b"\r\n")
        return await self.reply()

    async def code(self, line: bytes) -> int:
        """The reply code to ``line``; 0 where the server closed without one."""
        lines = await self.command(line)
        return int(lines[-1][:3]) if lines else 0

    async def rest(self) -> bytes:
        """All octets until the server closes."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read()

    async def message(self, sender: bytes, recipients: list[bytes], content: bytes) -> list[list[bytes]]:
        """A whole transaction, one command at a time, ``content`` stuffed here; all its replies in order."""
        replies = [await self.command(b"MAIL FROM:<%b>" % sender)]
        replies += [await self.command(b"RCPT TO:<%b>" % recipient) for recipient in recipients]
        replies.append(await self.command(b"DATA"))
        if replies[-1] and replies[-1][-1].startswith(b"354"):
            await self.send(stuffed(content) + b".\r\n")
            replies.append(await self.reply())
        return replies

    async def starttls(self, context: ssl.SSLContext, *, name: str = "mx.example.com") -> None:
        """STARTTLS, its 220, and the handshake.

        Raises:
            OSError: there is no handshake; ``ssl.SSLError`` is one.
        """
        assert (await self.command(b"STARTTLS"))[-1].startswith(b"220 ")
        await self.shake_hands(context, name=name)

    async def shake_hands(self, context: ssl.SSLContext, *, name: str = "mx.example.com") -> None:
        """Be the client of a handshake now.

        Raises:
            OSError: there is none.
        """
        async with asyncio.timeout(TIMEOUT):
            await self.writer.start_tls(context, server_hostname=name)

    def reset(self) -> None:
        """Vanish by a TCP reset (socket(7), SO_LINGER without time)."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close without QUIT."""
        self.writer.close()
        with contextlib.suppress(ConnectionError, OSError, TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await self.writer.wait_closed()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def stuffed(content: bytes) -> bytes:
    """``content`` line by line with every leading dot doubled (RFC 5321 4.5.2), the last line end added if missing."""
    lines = content.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
