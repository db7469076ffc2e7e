"""The outside: an MTA with mail for us, which it keeps and sends again until it hears 250, and a probe.

A real MTA waits for minutes before it tries again; this one for three seconds, so that a scenario takes no hour. Apart
from that it does what RFC 5321 4.5.4.1 asks for: whatever is not answered 250 to the final dot stays in its queue, a
refused connection, a reset or silence included. Each connection comes from an address of its own. Times in seconds, of
``time.monotonic``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from time import monotonic
from typing import Final

from tests.ha.layout import PORT, VIP
from tests.soak.link import GO_AHEAD, OK, Link
from tests.soak.traffic import HELO, RECIPIENTS, SENDER, addresses, message

PACE: Final = 0.2
"""Between two new messages, and between two probes."""
AGAIN: Final = 3.0
"""Between two attempts at one message."""
IN_FLIGHT: Final = 0.3
"""A message lies open so long: some are in the middle of their content at any moment."""
AT_ONCE: Final = 20
"""Attempts at the same time: what MTAs have as their bound for one destination."""
CONNECTED_WITHIN, ANSWERED_WITHIN = 2.0, 15.0
PROBED_WITHIN: Final = 0.5
"""For a probe's connection; its greeting may take ANSWERED_WITHIN."""
GIVEN_UP: Final = 180.0
"""A message that is not taken for so long after the last one is a fault."""
_CLIENTS = addresses(IPv4Network("198.19.0.0/17"))
_PROBES = addresses(IPv4Network("198.19.128.0/17"))
_NUMBERS = itertools.count(1)


async def connect(client: str, within: float) -> Link:
    """A connection to the virtual address from ``client``.

    Raises:
        OSError: it is refused, or cannot be made.
        TimeoutError: nobody answers.
    """
    async with asyncio.timeout(within):
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(Link, VIP, PORT, local_addr=(client, 0))
        return link


@dataclass
class Sent:
    """The sender's side of an account.

    Attributes:
        messages: ids of all.
        taken: of those that were answered 250.
        attempts: how often one was tried.
        faults: what came instead of 250, and how often: a reply's code, or the exception's name.
    """

    messages: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    attempts: int = 0
    faults: Counter[str] = field(default_factory=Counter)


@dataclass
class Sight:
    """What a probe saw: when each was begun, and whether it was greeted."""

    seen: list[tuple[float, bool]] = field(default_factory=list)

    def outages(self) -> Iterator[float]:
        """The length of each time in which no connection was greeted: from the first that was not to the next that was.

        One that has not ended is as long as was looked.
        """
        down = began = 0.0
        for began, greeted in sorted(self.seen):
            if greeted and down:
                yield began - down
                down = 0.0
            elif not greeted and not down:
                down = began
        if down:
            yield began - down

    @property
    def outage(self) -> float:
        """All of them together."""
        return sum(self.outages())


class Outside:
    """Sends and looks while it is entered; leaving it waits until every message was taken.

    Raises:
        TimeoutError: on leaving: one is not, within :data:`GIVEN_UP`.
    """

    def __init__(self) -> None:
        self.sent, self.sight = Sent(), Sight()
        self._attempts = asyncio.Semaphore(AT_ONCE)
        self._going: list[asyncio.Task[None]] = []
        self._letters: set[asyncio.Task[None]] = set()
        self._probing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Outside:
        """Begin."""
        self._going = [asyncio.create_task(self._send()), asyncio.create_task(self._look())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """No new messages; the queue is worked off."""
        sending, looking = self._going
        sending.cancel()
        try:
            async with asyncio.timeout(GIVEN_UP):
                await asyncio.gather(*self._letters)
                await asyncio.sleep(PROBED_WITHIN)  # so that the last probe sees what the last message found
        finally:
            looking.cancel()
            await asyncio.gather(*self._going, *self._probing, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            number = f"<{next(_NUMBERS)}.ha@example.org>"
            self.sent.messages.append(number)
            self._letters.add(asyncio.create_task(self._until_taken(number)))
            await asyncio.sleep(PACE)

    async def _until_taken(self, number: str) -> None:
        while True:
            async with self._attempts:
                if await self._attempt(number):
                    return
            await asyncio.sleep(AGAIN)

    async def _attempt(self, number: str) -> bool:
        self.sent.attempts += 1
        link: Link | None = None
        try:
            link = await connect(next(_CLIENTS), CONNECTED_WITHIN)
            async with asyncio.timeout(ANSWERED_WITHIN):
                code = await _transact(link, number)
        except (OSError, TimeoutError) as error:
            self.sent.faults[type(error).__name__] += 1
            return False
        finally:
            if link is not None:
                link.close()
        if code == OK:
            self.sent.taken.add(number)
        else:
            self.sent.faults[str(code)] += 1
        return code == OK

    async def _look(self) -> None:
        while True:
            probe = asyncio.create_task(self._probe())
            self._probing.add(probe)
            probe.add_done_callback(self._probing.discard)
            await asyncio.sleep(PACE)

    async def _probe(self) -> None:
        began, greeted = monotonic(), False
        with suppress(OSError, TimeoutError):
            link = await connect(next(_PROBES), PROBED_WITHIN)
            try:
                async with asyncio.timeout(ANSWERED_WITHIN):
                    greeted = await link.reply() == 220
            finally:
                link.close()
        self.sight.seen.append((began, greeted))


async def _transact(link: Link, number: str) -> int:
    """One message; the code of the last reply."""
    code = await link.greet(HELO)
    if code == OK:
        code = await link.envelope(SENDER, RECIPIENTS[:1])
    if code != GO_AHEAD:
        return code
    octets = message(number)
    link.send(octets[: len(octets) // 2])
    await asyncio.sleep(IN_FLIGHT)
    code = await link.content(octets[len(octets) // 2 :])
    if code == OK:
        with suppress(OSError):
            await link.quit()
    return code
