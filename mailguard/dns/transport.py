"""One query to one resolver and its reply, as octets: UDP, and TCP where the reply was cut (RFC 7766 5).

Each query goes from a socket of its own: the kernel gives it a random source port (RFC 5452 4.5), a connected socket
takes datagrams from the address asked and from no other (RFC 5452 9.1), and says at once where nobody listens. There
is no timeout in here: the resolver bounds and cancels.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from mailguard.dns.servers import Server

MAX_DATAGRAM: Final = 4096
"""Octets read of one datagram. We announce no EDNS size, so 512 is what may come (RFC 1035 2.3.4)."""


class Transport(Protocol):
    """The way to the resolvers; tests put tables of faults in its place."""

    async def udp(self, server: Server, query: bytes, fits: Callable[[bytes], bool]) -> bytes:
        """Send ``query``; the first datagram from ``server`` that ``fits``. Others are passed over (RFC 5452 9.1).

        Raises:
            OSError: the network refused.
        """
        ...

    async def tcp(self, server: Server, query: bytes) -> bytes:
        """Send ``query`` over a connection of its own; the message that comes back.

        Raises:
            OSError: the network refused.
            EOFError: the connection ended before a whole message.
        """
        ...


class NetworkTransport:
    """The real network."""

    async def udp(self, server: Server, query: bytes, fits: Callable[[bytes], bool]) -> bytes:
        """See :meth:`Transport.udp`."""
        loop = asyncio.get_running_loop()
        with socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(server.address)
            sock.send(query)
            while not fits(reply := await loop.sock_recv(sock, MAX_DATAGRAM)):
                pass
            return reply

    async def tcp(self, server: Server, query: bytes) -> bytes:
        """See :meth:`Transport.tcp`."""
        loop = asyncio.get_running_loop()
        with socket.socket(server.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            await loop.sock_connect(sock, server.address)
            await loop.sock_sendall(sock, len(query).to_bytes(2) + query)
            return await _read(sock, int.from_bytes(await _read(sock, 2)))


async def _read(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` octets.

    Raises:
        EOFError: the connection ended before.
    """
    octets = b""
    while len(octets) < size:
        chunk = await asyncio.get_running_loop().sock_recv(sock, size - len(octets))
        if not chunk:
            raise EOFError("the connection ended within the reply")
        octets += chunk
    return octets
