"""The load generator: SMTP clients that say one command at a time, as most do, from a process of their own.

``python -m tests.bench.generator`` reads one :class:`Job` as JSON from standard input, does it, and ends with status 0
where every reply had the code that was to be expected; else it tells on standard error which one had not, and ends
with status 1: a server that refuses work is not a fast one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import cast

import uvloop

from tests.bench.loads import HELO, RECIPIENT, SENDER, Load, message

TIMEOUT = 120.0
"""Seconds for one job."""


class UnexpectedReply(Exception):
    """The server did not do the work; the text holds its reply."""


@dataclass(frozen=True)
class Job:
    """``load`` for the server on ``port``, its clients ``addresses`` in turn.

    ``proxied``: the address is told in a PROXY header; else the connection comes from it, which the machine must allow.
    """

    load: Load
    port: int
    addresses: list[str]
    proxied: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(**{**values, "load": Load(**values["load"])})


Step = tuple[bytes, bytes]
"""What to send, and the code of the reply that must come."""


def script(load: Load) -> list[Step]:
    """All steps of one connection."""
    mail, rcpt = b"MAIL FROM:<%b>\r\n" % SENDER, b"RCPT TO:<%b>\r\n" % RECIPIENT
    answers = [(rcpt, b"554")] if load.refused else [(rcpt, b"250"), *content(load)]
    transaction = [(mail, b"250"), *answers]
    return [(b"", b"220"), (b"EHLO %b\r\n" % HELO, b"250"), *transaction * load.messages, (b"QUIT\r\n", b"221")]


def content(load: Load) -> list[Step]:
    """The steps of a message's content."""
    octets = message(load.size)
    if not load.chunk:
        return [(b"DATA\r\n", b"354"), (octets + b".\r\n", b"250")]
    chunks = [octets[start : start + load.chunk] for start in range(0, len(octets), load.chunk)]
    last = len(chunks) - 1
    return [
        (b"BDAT %d%b\r\n%b" % (len(chunk), b" LAST" if i == last else b"", chunk), b"250")
        for i, chunk in enumerate(chunks)
    ]


class _Client(asyncio.Protocol):
    """One connection; ``done`` is resolved once it is closed after its last step."""

    def __init__(self, steps: list[Step], introduction: bytes) -> None:
        self._steps = iter(steps)
        self._introduction = introduction
        self._reply = b""
        self._code = b""
        self._transport: asyncio.Transport
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._next(self._introduction)

    def data_received(self, data: bytes) -> None:
        self._reply += data
        if not self._reply.endswith(b"\n"):
            return
        last = self._reply[self._reply.rfind(b"\n", 0, -1) + 1 :]
        if last[3:4] == b"-":
            return
        if last[:3] != self._code:
            self._fail(f"{last!r} came where {self._code.decode()} was expected")
            return
        self._reply = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection ended where {self._code.decode()} was expected ({exc})")

    def _next(self, before: bytes = b"") -> None:
        step = next(self._steps, None)
        if step is None:
            self.done.set_result(None)
            self._transport.close()
            return
        octets, self._code = step
        if before or octets:
            self._transport.write(before + octets)

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(UnexpectedReply(why))
            self._transport.close()


def _introduction(address: str) -> bytes:
    return f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode()


async def run(job: Job) -> None:
    """Do ``job``.

    Raises:
        UnexpectedReply: the server did not do all of it.
        OSError: a connection was refused, or a client address is none of this machine's.
        TimeoutError: it took longer than :data:`TIMEOUT`.
    """
    steps = script(job.load)
    addresses = islice(cycle(job.addresses), job.load.connections)
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        for _ in range(job.load.at_once):
            group.create_task(_connections(job, steps, addresses))


async def _connections(job: Job, steps: list[Step], addresses: Iterator[str]) -> None:
    loop = asyncio.get_running_loop()
    for address in addresses:
        introduction = _introduction(address) if job.proxied else b""
        _, client = await loop.create_connection(
            lambda introduction=introduction: _Client(steps, introduction),
            "127.0.0.1",
            job.port,
            local_addr=None if job.proxied else (address, 0),
        )
        await client.done


def main() -> None:
    try:
        uvloop.run(run(Job.from_json(sys.stdin.read())))
    except* (UnexpectedReply, OSError) as group:  # a TimeoutError is an OSError
        sys.exit(f"load generator: {group.exceptions[0]!r}")


if __name__ == "__main__":
    main()
