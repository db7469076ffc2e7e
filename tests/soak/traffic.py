"""A steady load: so many senders at a time, each message with an id of its own, and what became of every one.

A sender never sends the same id twice: what came of an attempt stands for that attempt alone, so that a message which
got no answer is not counted as a duplicate of its own second attempt. Times in seconds, of ``time.monotonic``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network

from tests.soak.failure import require
from tests.soak.link import GO_AHEAD, OK, Closed, Link

HELO, SENDER = b"mail.example.org", b"sender@example.org"
RECIPIENTS = (b"alice@example.com", b"bob@example.com", b"carol@example.com", b"user@example.com")
PAUSE = 0.05
"""After a connection that failed or was turned away."""
ANSWERED_WITHIN = 60.0
"""No answer for so long is told as ``silent``; a final dot may wait for a backend that is busy."""
PARTING = 5.0
"""For the reply to QUIT."""
_LINE = b"The quick brown fox jumps over the lazy dog, and sixty-nine columns are.\r\n"
_IDS = itertools.count(1)


class Stage(Enum):
    """How far an attempt came."""

    CONNECTION = "connection"
    ENVELOPE = "envelope"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a message.

    Attributes:
        message_id: with its angle brackets.
        code: of the last reply; 0 where the connection ended without the one that was owed.
        fault: how it ended then: ``refused``, ``reset``, ``closed`` or ``silent``; empty where there was a reply.
        at: when that was.
        seconds: from the attempt's beginning until then.
    """

    message_id: str
    stage: Stage
    code: int
    fault: str
    at: float
    seconds: float

    @property
    def taken(self) -> bool:
        """Whether mailguard has said that the message is delivered."""
        return self.stage is Stage.CONTENT and self.code == OK


def addresses(network: IPv4Network) -> Iterator[str]:
    """Those of its clients, over and over."""
    return (str(address) for _ in itertools.count() for address in network.hosts())


def message(message_id: str, size: int = 2048) -> bytes:
    """A message of about ``size`` octets."""
    head = f"From: A Sender <{SENDER.decode()}>\r\nTo: A User <{RECIPIENTS[0].decode()}>\r\nSubject: One of many\r\n"
    ids = f"Message-ID: {message_id}\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n"
    return (head + ids).encode() + _LINE * (size // len(_LINE))


class Traffic:
    """Senders to the PROXY port ``port``.

    Args:
        clients: their addresses, a new one for each connection.
        a_connection: messages in one connection.
    """

    def __init__(self, port: int, clients: Iterator[str], a_connection: int = 5) -> None:
        self._port = port
        self._clients = clients
        self._a_connection = a_connection
        self._stopping = False
        self.attempts: list[Attempt] = []

    @property
    def taken(self) -> list[Attempt]:
        """The messages that were answered 250."""
        return [attempt for attempt in self.attempts if attempt.taken]

    def came_of(self, since: int = 0) -> Counter[str]:
        """How often each outcome came, from the attempt of that number on: a code, or the name of a fault."""
        return Counter(each.fault or str(each.code) for each in self.attempts[since:])

    @asynccontextmanager
    async def flowing(self, senders: int) -> AsyncIterator[None]:
        """Send from ``senders`` connections at a time while this is entered; at its end what is under way ends."""
        self._stopping = False
        tasks = [asyncio.create_task(self._sender()) for _ in range(senders)]
        try:
            yield
        finally:
            self._stopping = True
            done, late = await asyncio.wait(tasks, timeout=2 * ANSWERED_WITHIN)
            for task in late:
                task.cancel()
        for task in done:
            task.result()
        require(not late, f"{len(late)} senders do not end")

    async def until(self, happened: Callable[[], bool], what: str, bound: float = 60.0) -> None:
        """Wait for what attempts show.

        Raises:
            SoakFailed: not within ``bound`` seconds.
        """
        deadline = time.monotonic() + bound
        while not happened():
            require(time.monotonic() < deadline, f"{what}: not within {bound:g} s; {dict(self.came_of())}")
            await asyncio.sleep(0.02)

    async def more(self, messages: int) -> None:
        """Wait until so many more were taken.

        Raises:
            SoakFailed: mail does not flow.
        """
        since = len(self.attempts)
        await self.until(lambda: sum(each.taken for each in self.attempts[since:]) >= messages, "mail flows")

    async def _sender(self) -> None:
        while not self._stopping:
            if not await self._connection():
                await asyncio.sleep(PAUSE)

    async def _connection(self) -> bool:
        """One connection; whether all went well."""
        link: Link | None = None
        try:
            for _ in range(self._a_connection):
                link, attempt = await self._attempt(link)
                self.attempts.append(attempt)
                if not attempt.taken:
                    return False
                if self._stopping:
                    break
            return True
        finally:
            if link is not None:
                await _part(link)

    async def _attempt(self, link: Link | None) -> tuple[Link | None, Attempt]:
        """One message on ``link``, or on a new connection; that connection, and what became of the message."""
        message_id = f"<{next(_IDS)}.soak@example.org>"
        began, stage, code, fault = time.monotonic(), Stage.CONNECTION, 0, ""
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                if link is None:
                    link = await Link.to(self._port, next(self._clients))
                    code = await link.greet(HELO)
                if code in (0, OK):
                    stage, code = Stage.ENVELOPE, 0
                    recipient = RECIPIENTS[len(self.attempts) % len(RECIPIENTS)]
                    code = await link.envelope(SENDER, [recipient])
                if code == GO_AHEAD:
                    stage, code = Stage.CONTENT, 0
                    code = await link.content(message(message_id))
        except (OSError, TimeoutError) as error:
            code, fault = 0, _fault(error)
        now = time.monotonic()
        return link, Attempt(message_id, stage, code, fault, now, now - began)


def _fault(error: Exception) -> str:
    kinds: dict[type[Exception], str] = {ConnectionRefusedError: "refused", Closed: "closed", TimeoutError: "silent"}
    return kinds.get(type(error), "reset")


async def _part(link: Link) -> None:
    """End a connection as clients do; what came of its messages is known already."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PARTING):
            await link.quit()
    link.close()
