"""The backend of both servers: takes every message, keeps none, counts them.

    python -m tests.bench.sink PORT [--chunking]

With ``--chunking`` it offers CHUNKING, and takes messages by one BDAT each (RFC 3030).

It is made to cost little, so that it is never what is measured; its own CPU time counts for nobody. A PROXY v2 header
before the first command is skipped. ``NOOP`` is answered with how many messages and octets were taken so far, by which
:mod:`tests.bench.rounds` checks that what a server said to have relayed did arrive.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from dataclasses import dataclass
from typing import cast

import uvloop

BACKLOG = 1024
_END = b"\r\n.\r\n"
_PROXY = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY_HEADER = 16
"""Octets of a PROXY v2 header before its addresses (PROXY protocol 2.2)."""
_OFFER = b"250-sink.test.invalid\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250%bSMTPUTF8\r\n"
_CHUNKING = _OFFER % b"-" + b"250 CHUNKING\r\n"
_REPLIES = {
    b"EHLO": _OFFER % b" ",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}


@dataclass
class Taken:
    """What all connections took: ``octets`` as they came, dots stuffed, the final dot's line not counted."""

    messages: int = 0
    octets: int = 0


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, taken: Taken, *, chunking: bool = False) -> None:
        self._taken = taken
        self._replies = _REPLIES | ({b"EHLO": _CHUNKING} if chunking else {})
        self._left = 0
        self._buffer = b""
        self._tail = b""
        self._in_content = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._transport.write(b"220 sink.test.invalid ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._chunk(data)
        elif self._in_content:
            self._content(data)
        else:
            self._commands(data)

    def _commands(self, data: bytes) -> None:
        self._buffer += data
        if (self._buffer.startswith(_PROXY) or _PROXY.startswith(self._buffer)) and not self._skip_proxy_header():
            return
        replies = []
        while not (self._in_content or self._left):
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                break
            self._buffer = rest
            if line[:5].upper() == b"BDAT ":
                self._left = int(line.split()[1])
            else:
                replies.append(self._command(line[:4].upper()))
        if replies:
            self._transport.write(b"".join(replies))
        if replies and replies[-1] is _REPLIES[b"QUIT"]:
            self._transport.close()
        elif (self._in_content or self._left) and self._buffer:
            data, self._buffer = self._buffer, b""
            self.data_received(data)

    def _skip_proxy_header(self) -> bool:
        if len(self._buffer) < _PROXY_HEADER:
            return False
        (length,) = struct.unpack_from("!H", self._buffer, _PROXY_HEADER - 2)
        if len(self._buffer) < _PROXY_HEADER + length:
            return False
        self._buffer = self._buffer[_PROXY_HEADER + length :]
        return True

    def _command(self, verb: bytes) -> bytes:
        if verb == b"DATA":
            self._in_content = True
            self._tail = b"\r\n"  # of the command itself: "." at once ends an empty message
        if verb == b"NOOP":
            return b"250 2.0.0 %d messages, %d octets\r\n" % (self._taken.messages, self._taken.octets)
        return self._replies.get(verb, b"250 2.0.0 ok\r\n")

    def _chunk(self, data: bytes) -> None:
        """Octets of the one chunk in which a message comes."""
        now = min(self._left, len(data))
        self._taken.octets += now
        self._left -= now
        if not self._left:
            self._taken.messages += 1
            self._transport.write(b"250 2.0.0 taken\r\n")
        if now < len(data):
            self._commands(data[now:])

    def _content(self, data: bytes) -> None:
        seam = self._tail + data[: len(_END) - 1]
        found = seam.find(_END)
        end = found - len(self._tail) if found >= 0 else data.find(_END)
        if found < 0 and end < 0:
            self._taken.octets += len(data)
            self._tail = (self._tail + data[-4:])[-4:]
            return
        behind = end + len(_END)
        self._taken.octets += end + len(b"\r\n")
        self._taken.messages += 1
        self._in_content = False
        self._transport.write(b"250 2.0.0 taken\r\n")
        if behind < len(data):
            self._commands(data[behind:])


async def listen(taken: Taken, port: int = 0, *, chunking: bool = False) -> asyncio.Server:
    """Serve on ``port`` of loopback; 0 for a free one."""
    # A socket made with its protocol number: without it asyncio sets no TCP_NODELAY on what it accepts.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    return await asyncio.get_running_loop().create_server(
        lambda: Sink(taken, chunking=chunking), sock=listening, backlog=BACKLOG
    )


async def _serve(port: int, *, chunking: bool) -> None:
    async with await listen(Taken(), port, chunking=chunking) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), chunking="--chunking" in sys.argv[2:]))
