"""Queries to resolvers and their replies, as octets: UDP, and TCP where the reply was cut (RFC 7766 5).

Questions that are under way at the same time share a socket; one that no question is left on is closed, and none is
for more than :data:`MAX_QUESTIONS`. So the source ports that the kernel draws change all the time, and a forged reply
has to guess one of them beside 16 bits of id (RFC 5452 4.5). A connected socket takes datagrams from the address
asked and from no other (RFC 5452 9.1), and says at once where nobody listens. There is no timeout in here: who asks
bounds and calls off.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol

from mailguard.dns import wire
from mailguard.dns.question import Question
from mailguard.dns.servers import Server

MAX_DATAGRAM: Final = 4096
"""Octets read of one datagram. We announce no EDNS size, so 512 is what may come (RFC 1035 2.3.4)."""
MAX_QUESTIONS: Final = 64
"""Questions that one socket is for, one after the other or at the same time: their replies fit its receive buffer."""


class Asker(Protocol):
    """Who has a query under way, and is told once what came of it."""

    query: bytes

    @property
    def question(self) -> Question:
        """What ``query`` asks."""

    def replied(self, reply: bytes) -> None:
        """``reply`` echoes the query."""

    def refused(self, error: Exception) -> None:
        """The network refused."""


class Line(Protocol):
    """What a query went by."""

    def call_off(self, asker: Asker) -> None:
        """``asker`` is not to be told; where it was told, or is not known here, this does nothing."""


class Transport(Protocol):
    """The way to the resolvers; tests put tables of faults in its place."""

    def ask(self, server: Server, asker: Asker) -> Line:
        """Send the query of ``asker``, and later tell it the reply of ``server``, or an error, once.

        A datagram that does not echo the query is passed over (RFC 5452 9.1).

        Returns:
            Where to call the query off.

        Raises:
            OSError: the network refused at once; ``asker`` will not be told.
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
    """The real network. It belongs to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Server, _Socket] = {}

    def ask(self, server: Server, asker: Asker) -> Line:
        """See :meth:`Transport.ask`."""
        line = self._lines.get(server)
        if line is None or not line.takes(asker):
            line = self._lines[server] = _Socket(server)
            line.takes(asker)
        return line

    async def tcp(self, server: Server, query: bytes) -> bytes:
        """See :meth:`Transport.tcp`."""
        loop = asyncio.get_running_loop()
        with socket.socket(server.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            await loop.sock_connect(sock, server.address)
            await loop.sock_sendall(sock, len(query).to_bytes(2) + query)
            return await _read(sock, int.from_bytes(await _read(sock, 2)))


class _Socket:
    """One connected socket and the questions under way on it, by their ids; closed as soon as there is none.

    Raises:
        OSError: the network refused.
    """

    __slots__ = ("_left", "_loop", "_sock", "_under_way")

    def __init__(self, server: Server) -> None:
        self._left = MAX_QUESTIONS
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[bytes, Asker] = {}
        self._sock = socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.connect(server.address)
        except OSError:
            self._sock.close()
            raise
        self._loop.add_reader(self._sock, self._readable)

    def takes(self, asker: Asker) -> bool:
        """Send the query of ``asker``, as :meth:`Transport.ask` does; false where it cannot go this way.

        None can once this is closed or has had its number, nor one of an id that is under way; a new one takes any.
        """
        query, under_way = asker.query, self._under_way
        key = query[wire.ID]
        if not self._left or key in under_way:
            return False
        self._left -= 1
        under_way[key] = asker
        try:
            self._sock.send(query)
        except OSError as error:  # it may be about a question before this one: they all went the same way
            del under_way[key]
            self._fail(error)
            raise
        return True

    def call_off(self, asker: Asker) -> None:
        """See :class:`Line`."""
        key = asker.query[wire.ID]
        if self._under_way.get(key) is asker:
            del self._under_way[key]
            if not self._under_way:
                self._close()

    def _readable(self) -> None:
        """Take what is here, and not by a turn of the loop each: whoever asked several questions is woken once."""
        for _ in range(MAX_QUESTIONS):
            if not self._under_way:
                return
            try:
                datagram = self._sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                return
            self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        under_way, key = self._under_way, datagram[wire.ID]
        asker = under_way.get(key)
        if asker is None or not wire.is_about(asker.question, datagram):
            return
        del under_way[key]
        if not under_way:
            self._close()
        asker.replied(datagram)

    def _fail(self, error: OSError) -> None:
        under_way, self._under_way = self._under_way, {}
        self._close()
        for asker in under_way.values():
            asker.refused(error)

    def _close(self) -> None:
        """None is under way."""
        self._left = 0
        self._loop.remove_reader(self._sock)
        self._sock.close()


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
