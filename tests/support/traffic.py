"""Traffic as real senders make it: many connections, and what is deferred comes again until it is taken or refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from mailguard.lab.exim import Exim
from tests.support.client import Client
from tests.support.mail import Mail, mail, submit

PAUSE = 0.05
"""Seconds before a deferred message comes again."""
BOUND = 60.0
"""Seconds that a test waits for something to show in the traffic, or in the mailboxes."""


@dataclass
class Traffic:
    """Messages on their way.

    Attributes:
        connect: opens a connection of a client address.
        addresses: whose addresses the clients have.
        taken: messages whose content was answered 250, by Message-ID.
        refused: messages that got a 5yz, with it.
        replies: how often each last reply code came; 0 for a connection that ended without one.
    """

    connect: Callable[[str], Awaitable[Client]]
    addresses: Iterator[str]
    taken: list[str] = field(default_factory=list)
    refused: dict[str, bytes] = field(default_factory=dict)
    replies: Counter[int] = field(default_factory=Counter)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, happened: Callable[[Traffic], bool]) -> None:
        """Wait for something that replies show: ``lambda traffic: len(traffic.taken) >= 5``."""
        async with asyncio.timeout(BOUND), self._changed:
            await self._changed.wait_for(lambda: happened(self))

    async def send(self, messages: int, senders: int, attempts: int, enough: asyncio.Event | None = None) -> list[Mail]:
        """Send ``messages`` over ``senders`` connections at a time, each message at most ``attempts`` times.

        Args:
            enough: more than ``messages`` are sent until this is set: what a test does meanwhile takes as long as it
                takes, and is to be done under traffic.
        """
        all_of_them: list[Mail] = []

        async def sender() -> None:
            while len(all_of_them) < messages or (enough is not None and not enough.is_set()):
                all_of_them.append(mail())
                await self._deliver(all_of_them[-1], attempts)

        async with asyncio.TaskGroup() as group:
            for _ in range(senders):
                group.create_task(sender())
        return all_of_them

    async def _deliver(self, message: Mail, attempts: int) -> None:
        for _ in range(attempts):
            last = await self._attempt(message)
            code = int(last[:3] or 0)
            async with self._changed:
                self.replies[code] += 1
                if code == 250:
                    self.taken.append(message.message_id)
                elif code >= 500:
                    self.refused[message.message_id] = last
                self._changed.notify_all()
            if code == 250 or code >= 500:
                return
            await asyncio.sleep(PAUSE)

    async def _attempt(self, message: Mail) -> bytes:
        try:
            async with await self.connect(next(self.addresses)) as client:
                outcome = await submit(client, message.octets)
        except ConnectionError:
            return b""
        return outcome.content or next((line for line in outcome.rcpt if line[:1] in (b"4", b"5")), outcome.data)


async def in_mailboxes(exim: Exim, expected: int) -> Counter[str]:
    """How often each Message-ID stands in alice's mailbox, once as many as expected do, or after a bounded wait."""
    deadline = time.monotonic() + BOUND
    while True:
        ids = Counter(
            line.partition(b":")[2].strip().decode()
            for found in exim.mailbox("alice")
            for line in found.read().split(b"\n\n", 1)[0].split(b"\n")
            if line.lower().startswith(b"message-id:")
        )
        if len(ids) >= expected or time.monotonic() > deadline:
            return ids
        await asyncio.sleep(0.05)


def account(traffic: Traffic, ids: list[str], found: Counter[str], doubtful: int = 0) -> None:
    """Every message that was answered 250 is there, once but for ``doubtful`` ones; no other is."""
    assert not traffic.refused
    assert sorted(traffic.taken) == sorted(ids), "every message was taken in the end"
    assert set(found) == set(ids), "lost"
    assert sum(found.values()) - len(found) <= doubtful, f"duplicates beyond the {doubtful} doubtful ones"
