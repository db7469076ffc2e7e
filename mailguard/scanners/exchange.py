"""One request to a scanner's socket and its whole reply, on a plain non-blocking socket.

Plain sockets instead of asyncio's streams for two reasons. A scanner that has seen enough (clamd over StreamMaxLength)
answers and closes while we still send; a stream then reports the reset and drops the reply that already lies in the
receive buffer, a socket hands it out (recv returns queued data before it reports ECONNRESET). And FILDES needs
sendmsg with SCM_RIGHTS on the very socket (unix(7)).

No call here has a bound of its own: the caller holds ``asyncio.timeout_at`` around the whole exchange, connecting
included. Cancelling at any await closes the socket. Failure: :class:`ScannerDown`, for every OSError and for a reply
that is too long.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

READ_SIZE: Final = 65_536
"""Octets asked for at a time."""


class ScannerDown(Exception):
    """The scanner is not there, or what it says is no answer; the text is one short private sentence."""


def split_address(address: str) -> tuple[str, int] | str:
    """``unix:/path`` as the path, ``host:port`` and ``[v6]:port`` as host and port (config.SocketAddress)."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def _candidates(address: str) -> list[tuple[int, object]]:
    where = split_address(address)
    if isinstance(where, str):
        return [(socket.AF_UNIX, where)]
    found = await asyncio.get_running_loop().getaddrinfo(*where, type=socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


async def _connect_one(family: int, where: object) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, where)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[socket.socket]:
    """A non-blocking socket connected to ``address``, closed at the end.

    Raises:
        ScannerDown: none of the host's addresses takes the connection, or the name is not known.
    """
    failure = "the name has no address"
    for family, where in await _resolved(address):
        try:
            connection = await _connect_one(family, where)
        except OSError as error:
            failure = str(error)
            continue
        with connection:
            yield connection
        return
    raise ScannerDown(f"cannot connect to {address}: {failure}")


async def _resolved(address: str) -> list[tuple[int, object]]:
    try:
        return await _candidates(address)
    except OSError as error:
        raise ScannerDown(f"cannot resolve {address}: {error}") from error


async def send(connection: socket.socket, chunks: Iterable[bytes]) -> str:
    """Send ``chunks`` in turn; the error that cut it short, or empty.

    An error is returned and not raised, for the scanner may have answered before it stopped reading.
    """
    loop = asyncio.get_running_loop()
    for chunk in chunks:
        try:
            await loop.sock_sendall(connection, chunk)
        except OSError as error:
            return str(error)
    return ""


async def receive(connection: socket.socket, limit: int, terminator: bytes = b"") -> tuple[bytes, str]:
    """What the other side says until ``terminator`` or the end of the connection, and the error that cut it short.

    Raises:
        ScannerDown: more than ``limit`` octets.
    """
    loop = asyncio.get_running_loop()
    reply = bytearray()
    while not (terminator and reply.endswith(terminator)):
        try:
            piece = await loop.sock_recv(connection, READ_SIZE)
        except OSError as error:
            return bytes(reply), str(error)
        if not piece:
            break
        reply += piece
        if len(reply) > limit:
            raise ScannerDown(f"reply of more than {limit} octets")
    return bytes(reply), ""
