"""The load generator: SMTP clients that say one command at a time, as most do, from a process of their own.

``python -m tests.bench.generator`` reads one :class:`Job` as JSON from standard input, does it, writes what it saw as
JSON (:class:`Seen`) and ends with status 0 where every reply had the code that was to be expected; else it tells on
standard error which one had not, and ends with status 1: a server that refuses work is not a fast one.

A refusal is a reply of 5xx, at whatever command the server likes, the greeting included (RFC 5321 3.1): 421 is none.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
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


@dataclass(frozen=True)
class Seen:
    """What clients saw of one job, in seconds.

    Attributes:
        seconds: from the first connection to the end of the last.
        latencies: of each refusal, from connecting to the reply that refuses; or of each message, from MAIL to the last
            reply.
    """

    seconds: float
    latencies: list[float]


Step = tuple[bytes, bytes]
"""What to send, and how the code of the reply that must come begins."""
REFUSAL = b"5"


def script(load: Load) -> list[Step]:
    """All steps of one connection."""
    mail, rcpt = b"MAIL FROM:<%b>\r\n" % SENDER, b"RCPT TO:<%b>\r\n" % RECIPIENT
    more = [(b"RCPT TO:<%d.%b>\r\n" % (number, RECIPIENT), b"250") for number in range(1, load.recipients)]
    answers = [(rcpt, REFUSAL)] if load.refused else [(rcpt, b"250"), *more, *content(load)]
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
    """One connection; ``done`` is resolved once it is closed after its last step.

    Args:
        steps: what to say.
        introduction: said before, without waiting for an answer.
        refused: the server is to refuse, wherever it likes; the client then says QUIT.
        latencies: what a refusal or each message took is added to it.
    """

    def __init__(self, steps: list[Step], introduction: bytes, *, refused: bool, latencies: list[float]) -> None:
        self._steps = iter(steps)
        self._refused = refused
        self._latencies = latencies
        self._began = time.perf_counter()
        self._farewell = self._within = False
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
        self._reply = b""
        if self._refused and last.startswith(REFUSAL) and not self._farewell:
            self._latencies.append(time.perf_counter() - self._began)
            self._say_farewell()
        elif not last.startswith(self._code):
            self._fail(f"{last!r} came where {self._code.decode()} was expected")
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._refused and self._farewell and not self.done.done():
            self.done.set_result(None)  # who refuses may close at once
        self._fail(f"the connection ended where {self._code.decode()} was expected ({exc})")

    def _next(self, before: bytes = b"") -> None:
        step = next(self._steps, None)
        if step is None:
            self.done.set_result(None)
            self._transport.close()
            return
        octets, self._code = step
        if not self._refused:
            self._time(octets[:4])
        if before or octets:
            self._transport.write(before + octets)

    def _say_farewell(self) -> None:
        self._farewell = True
        self._steps = iter([])
        self._code = b"221"
        self._transport.write(b"QUIT\r\n")

    def _time(self, verb: bytes) -> None:
        """A message begins with MAIL, and ends where the next one or QUIT is said."""
        now = time.perf_counter()
        if verb in (b"MAIL", b"QUIT") and self._within:
            self._latencies.append(now - self._began)
        if verb == b"MAIL":
            self._within, self._began = True, now

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(UnexpectedReply(why))
            self._transport.close()


def _introduction(address: str) -> bytes:
    return f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode()


async def run(job: Job) -> Seen:
    """Do ``job``.

    Raises:
        UnexpectedReply: the server did not do all of it.
        OSError: a connection was refused, or a client address is none of this machine's.
        TimeoutError: it took longer than :data:`TIMEOUT`.
    """
    steps = script(job.load)
    began = time.perf_counter()
    pace = 1 / job.load.rate if job.load.rate else 0.0
    clients = ((began + number * pace, each) for number, each in enumerate(_clients(job)))
    latencies: list[float] = []
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        for _ in range(job.load.at_once):
            group.create_task(_connections(job, steps, clients, latencies))
    return Seen(time.perf_counter() - began, latencies)


def _clients(job: Job) -> Iterator[str]:
    return islice(cycle(job.addresses), job.load.connections)


async def _connections(
    job: Job, steps: list[Step], clients: Iterator[tuple[float, str]], latencies: list[float]
) -> None:
    """Connect for one client after the other, none before its time (in seconds of ``perf_counter``)."""
    loop = asyncio.get_running_loop()
    for begin, address in clients:
        early = begin - time.perf_counter()
        if early > 0:
            await asyncio.sleep(early)
        introduction = _introduction(address) if job.proxied else b""
        _, client = await loop.create_connection(
            lambda introduction=introduction: _Client(
                steps, introduction, refused=job.load.refused, latencies=latencies
            ),
            "127.0.0.1",
            job.port,
            local_addr=None if job.proxied else (address, 0),
        )
        await client.done


def main() -> None:
    try:
        seen = uvloop.run(run(Job.from_json(sys.stdin.read())))
    except (ExceptionGroup, OSError) as error:  # a TimeoutError is an OSError
        cause = _first(error)
        if not isinstance(cause, UnexpectedReply | OSError):
            raise
        sys.exit(f"load generator: {cause!r}")
    sys.stdout.write(json.dumps(asdict(seen)))


def _first(error: Exception) -> Exception:
    """The one that came first of those that ended the clients' tasks."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
