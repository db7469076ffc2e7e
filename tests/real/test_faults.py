"""Each server behind mailguard is killed under traffic, at an event of the conversation, and started again.

What holds in every case: what was answered 250 is in a mailbox, nothing is there twice unless the backend died between
the final dot and its reply, replies are what the policy says, and nothing needs a restart of mailguard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from structlog.testing import capture_logs

from mailguard.lab import Lab, world
from mailguard.lab.server import Server
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import EICAR, mail, submit
from tests.support.traffic import Traffic, account, in_mailboxes

MESSAGES, SENDERS, ATTEMPTS = 40, 4, 400
QUICK = {"limits": {"backend_retry": 0.2}}
WITHOUT_RESOLVER = {
    "limits": {"backend_retry": 0.2, "envelope_deadline": 1.0},
    "dns": {"timeout": 0.2, "cache_size": 0},
    "spamassassin": {"timeout": 4.0},
}
HASTY_SPAMD = "rbl_timeout 3 1\n"
"""A dead resolver makes spamd slow as well: it then is unknown after ``timeout``, and mail goes on unscored."""
WAIT = 60.0
"""Seconds for what must come, and seconds within which Exim delivers what it took."""


async def _kill_under_traffic(traffic: Traffic, victim: Server) -> list[str]:
    """Kill ``victim`` at the fifth 250; start it again once ten attempts came out as they do without it; all ids."""
    sending = asyncio.create_task(traffic.send(MESSAGES, SENDERS, ATTEMPTS))
    await traffic.until(lambda seen: len(seen.taken) >= 5)
    victim.kill()
    before = traffic.replies.total()
    await traffic.until(lambda seen: seen.replies.total() >= before + 10)
    await asyncio.to_thread(victim.start)
    return [message.message_id for message in await sending]


async def test_exim_killed(own_lab: Lab, start_mailguard: StartMailguard, addresses: Iterator[str]) -> None:
    """It delivers at the end alone: killed between a delivery and its own note of it, it would deliver once more."""
    exim = own_lab.exim(queue_only=True)
    service = await start_mailguard(own_lab, **QUICK)
    traffic = Traffic(service.connect, addresses)
    with capture_logs() as lines:
        ids = await _kill_under_traffic(traffic, exim)
    doubtful = sum(bool(line.get("digest")) for line in lines)
    await asyncio.to_thread(exim.run_queue, WAIT)
    account(traffic, ids, await in_mailboxes(exim, len(ids)), doubtful)
    assert traffic.replies[451] > 0


async def test_clamd_killed(own_lab: Lab, start_mailguard: StartMailguard, addresses: Iterator[str]) -> None:
    """``clamav: {down: defer}``: nothing passes unscanned, and all of it once clamd is back."""
    service = await start_mailguard(own_lab, **QUICK)
    traffic = Traffic(service.connect, addresses)
    ids = await _kill_under_traffic(traffic, own_lab.clamd())
    account(traffic, ids, await in_mailboxes(own_lab.exim(), len(ids)))
    assert traffic.replies[451] > 0
    async with await service.connect(next(addresses)) as client:
        assert (await submit(client, mail(EICAR).octets)).content.startswith(b"554 ")


async def test_spamd_killed(own_lab: Lab, start_mailguard: StartMailguard, addresses: Iterator[str]) -> None:
    """``spamassassin: {down: deliver}``: mail goes on unscored."""
    service = await start_mailguard(own_lab, **QUICK)
    traffic = Traffic(service.connect, addresses)
    ids = await _kill_under_traffic(traffic, own_lab.spamd())
    account(traffic, ids, await in_mailboxes(own_lab.exim(), len(ids)))
    assert set(traffic.replies) == {250}


async def test_resolver_killed(own_lab: Lab, start_mailguard: StartMailguard, addresses: Iterator[str]) -> None:
    """``dnsbl: ignore``: unknown is neither listed nor clean, and a listed client is refused again once it is back."""
    own_lab.spamd(rules=HASTY_SPAMD)
    service = await start_mailguard(own_lab, **WITHOUT_RESOLVER)
    traffic = Traffic(service.connect, addresses)
    resolver = own_lab.dns()
    ids = await _kill_under_traffic(traffic, resolver)
    account(traffic, ids, await in_mailboxes(own_lab.exim(), len(ids)))
    assert set(traffic.replies) == {250}
    async with asyncio.timeout(WAIT):  # an answer that comes behind so short a timeout is unknown as well
        while not await _refused(service, world.LISTED_TWICE):
            pass


async def _refused(service: Service, address: str) -> bool:
    async with await service.connect(address) as client:
        return (await submit(client, mail().octets)).rcpt[0].startswith(b"554 ")


async def test_a_listed_client_passes_while_the_resolver_is_dead(own_lab: Lab, start_mailguard: StartMailguard) -> None:
    own_lab.spamd(rules=HASTY_SPAMD)
    service = await start_mailguard(own_lab, **WITHOUT_RESOLVER)
    own_lab.dns().kill()
    async with await service.connect(world.LISTED_TWICE) as client:
        outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"250 ")


async def test_a_client_that_vanishes_before_the_reply(
    own_lab: Lab, start_mailguard: StartMailguard, addresses: Iterator[str]
) -> None:
    """Gone while the scanners work: either the backend never had the final dot, or what it took is in the log."""
    service = await start_mailguard(own_lab, **QUICK)
    message = mail()
    with capture_logs() as lines:
        await _vanish_at_the_dot(service, next(addresses), message.octets)
        async with asyncio.timeout(WAIT):
            while not any(line["event"] == "connection" for line in lines):  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.02)
    [logged] = [line for line in lines if line["event"] == "message"]
    taken = logged["reply"].startswith("250")
    delivered = own_lab.exim().find(message.message_id, WAIT if taken else 1.0)
    assert bool(delivered) is taken


async def _vanish_at_the_dot(service: Service, address: str, octets: bytes) -> None:
    client = await service.connect(address)
    await client.reply()
    for line in (b"EHLO mail.example.org", b"MAIL FROM:<a@example.org>", b"RCPT TO:<alice@example.com>", b"DATA"):
        await client.command(line)
    await client.send(octets + b".\r\n")
    client.reset()


async def test_a_dead_backend_from_the_start(own_lab: Lab, start_mailguard: StartMailguard, tmp_path: Path) -> None:
    """mailguard starts, defers within the deadline, and delivers once Exim is there."""
    exim = own_lab.exim()
    exim.kill()
    service = await start_mailguard(own_lab, **QUICK)
    async with await service.connect("198.18.1.77") as client:
        outcome = await submit(client, mail().octets)
    assert outcome.rcpt[0].startswith(b"451 4.3.0 ")
    exim.start()
    traffic = Traffic(service.connect, iter(["198.18.1.77"] * ATTEMPTS))
    [message] = await traffic.send(1, 1, ATTEMPTS)
    assert traffic.taken == [message.message_id]
