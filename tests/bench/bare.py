"""How far Python can go: a filter with nothing in it that a filter is for. No mail server, and nobody's.

It has no policy, no header fields, no log, no metrics, no bound on anything, and dies of the first surprise. Two
processes share a port; a connection is a protocol without a task; three questions go as octets through one connected
socket, an answer is read as far as the count of its records; mail goes to the backend through connections that are used
again, its commands in one write. What mailguard takes beyond that is what it is for.

    python -m tests.bench.bare --port 2530 --dns 127.0.0.1:53 --backend 127.0.0.1:2600 --zones a.example b.example
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
from collections.abc import Callable
from struct import Struct
from typing import Final, cast

import uvloop

BACKLOG: Final = 1024
WORKERS: Final = 2
ENOUGH: Final = 2
"""So many lists must agree: what the default policy's rule comes to."""
_HEADER: Final = Struct("!6H")
_A_IN: Final = b"\0\1\0\1"
_END: Final = b"\r\n.\r\n"


class Lists(asyncio.DatagramProtocol):
    """The lists, asked through one socket; ``known``: on how many of them a client is."""

    def __init__(self, zones: list[str]) -> None:
        self.known: dict[str, int] = {}
        self._zones = [b"".join(map(_label, zone.split("."))) + b"\0" for zone in zones]
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._id = 0
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def ask(self, client: str, done: Callable[[int], None]) -> None:
        """Tell ``done`` how many lists name ``client``."""
        counts: list[int] = []

        def told(answers: int) -> None:
            counts.append(answers > 0)
            if len(counts) == len(self._zones):
                self.known[client] = sum(counts)
                done(self.known[client])

        name = b"".join(map(_label, reversed(client.split("."))))
        for zone in self._zones:
            self._id = (self._id + 1) & 0xFFFF
            self._waiting[self._id] = told
            self._transport.sendto(_HEADER.pack(self._id, 0x0100, 1, 0, 0, 0) + name + zone + _A_IN)

    def datagram_received(self, data: bytes, addr: object) -> None:
        identity, _, _, answers, _, _ = _HEADER.unpack_from(data)
        self._waiting.pop(identity)(answers)


def _label(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


class Backend(asyncio.Protocol):
    """A connection to the backend; ``ready`` is told when it has greeted and answered to EHLO."""

    def __init__(self, ready: Callable[[Backend], None]) -> None:
        self._ready = ready
        self._expected = 1
        self._done: Callable[[], None] = self._introduce
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def say(self, octets: bytes, replies: int, done: Callable[[], None]) -> None:
        """Write, and tell ``done`` when so many replies have come."""
        self._expected, self._done = replies, done
        self._transport.write(octets)

    def data_received(self, data: bytes) -> None:
        self._expected -= sum(line[3:4] == b" " for line in data.splitlines())
        if not self._expected:
            self._done()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _introduce(self) -> None:
        self.say(b"EHLO bare.test.invalid\r\n", 1, lambda: self._ready(self))


class Pool:
    """Connections to the backend that nobody uses now."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)
        self._idle: list[Backend] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(self, envelope: bytes, content: bytes, done: Callable[[], None]) -> None:
        """Hand a message on; ``done`` is told when the backend has it."""

        def send(backend: Backend) -> None:
            def taken() -> None:
                self._idle.append(backend)
                done()

            backend.say(envelope, envelope.count(b"\n"), lambda: backend.say(content, 1, taken))

        if self._idle:
            send(self._idle.pop())
        else:
            task = asyncio.get_running_loop().create_task(self._connect(send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Hang up on all of them."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self, send: Callable[[Backend], None]) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Backend(send), *self._address)


class Client(asyncio.Protocol):
    """One client, which says one command at a time."""

    def __init__(self, lists: Lists, pool: Pool) -> None:
        self._lists = lists
        self._pool = pool
        self._buffer = b""
        self._content: list[bytes] = []
        self._in_content = False
        self._mail = self._rcpt = self._tail = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client = transport.get_extra_info("peername")[0]
        self._transport.write(b"220 bare.test.invalid ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        if self._in_content:
            self._take(data)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            self._command(line)

    def _command(self, line: bytes) -> None:
        match line[:4].upper():
            case b"RCPT":
                self._rcpt = line
                known = self._lists.known.get(self._client)
                if known is None:
                    self._lists.ask(self._client, self._judge)
                else:
                    self._judge(known)
                return
            case b"MAIL":
                self._mail = line
            case b"DATA":
                self._in_content = True
                self._transport.write(b"354 go on\r\n")
                return
            case b"QUIT":
                self._transport.write(b"221 2.0.0 bye\r\n")
                self._transport.close()
                return
        self._transport.write(b"250 2.0.0 ok\r\n")

    def _judge(self, listed: int) -> None:
        self._transport.write(b"554 5.7.1 blocked\r\n" if listed >= ENOUGH else b"250 2.1.5 ok\r\n")

    def _take(self, data: bytes) -> None:
        self._content.append(data)
        self._tail = (self._tail + data)[-len(_END) :]
        if self._tail != _END:
            return
        content, self._content, self._in_content = b"".join(self._content), [], False
        envelope = b"\r\n".join((self._mail, self._rcpt, b"DATA", b""))
        self._pool.deliver(envelope, content, lambda: self._transport.write(b"250 2.0.0 taken\r\n"))


async def _serve(listening: socket.socket, dns: str, zones: list[str], backend: str) -> None:
    loop = asyncio.get_running_loop()
    host, _, port = dns.rpartition(":")
    _, lists = await loop.create_datagram_endpoint(lambda: Lists(zones), remote_addr=(host, int(port)))
    pool = Pool(backend)
    server = await loop.create_server(lambda: Client(lists, pool), sock=listening, backlog=BACKLOG)
    gc.freeze()
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bare")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dns", required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--zones", nargs="+", required=True)
    options = parser.parse_args()
    for _ in range(WORKERS - 1):
        if not os.fork():
            break
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", options.port))
    uvloop.run(_serve(listening, options.dns, options.zones, options.backend))


if __name__ == "__main__":
    main()
