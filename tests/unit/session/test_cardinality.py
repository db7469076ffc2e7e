"""Metrics have as many series for 10,000 clients as for ten: no label holds what a stranger chose."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from mailguard import metric_store
from mailguard.facts import ClientAddress, Known
from mailguard.session import Session
from mailguard.smtp import grammar
from mailguard.smtp.events import End, HeloGiven
from mailguard.smtp.story import ConnectionEnd, Peer
from tests.unit.session.conftest import Service, Start

pytestmark = pytest.mark.slow

FIRST = int(IPv4Address("198.18.64.0"))
LOCAL = (ClientAddress.parse("127.0.0.1"), 25)
AT_ONCE = 100


def series() -> set[str]:
    """Every series by name and labels."""
    lines = metric_store.exposition(None).decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


async def whole(service: Service, number: int) -> None:
    """One client of its own from connect to QUIT: nonsense, a recipient elsewhere, a message, a refused sender."""
    async with await service.connect(str(IPv4Address(FIRST + number))) as client:
        await client.reply()
        await client.command(b"EHLO host-%d.example" % number)
        await client.command(b"NONSENSE%d" % number)
        await client.command(b"MAIL FROM:<a@unwanted.example>")
        await client.command(b"RCPT TO:<u%d@example.com>" % number)
        await client.command(b"RCPT TO:<u@elsewhere-%d.example>" % number)
        await client.command(b"RSET")
        content = b"Subject: %d\r\n\r\n" % number + b"x" * number
        await client.message(b"a%d@b%d.example" % (number, number), [b"u%d@example.com" % number], content + b"\r\n")
        await client.command(b"QUIT")


async def story(service: Service, number: int) -> None:
    """The same without a socket, as far as the sender."""
    told = Session(service.worker._services)
    await told.connected(Peer(ClientAddress.parse(str(IPv4Address(FIRST + number))), 40000, LOCAL))
    await told.greeting(Known(False))
    await told.helo(HeloGiven(f"host-{number}.example", extended=True))
    await told.mail(grammar.mail_from(b"FROM:<a@b%d.example>" % number, told.extensions()))
    await told.reset()
    await told.closed(ConnectionEnd(End.LOST, 1.0, 2, 0))


async def test_ten_thousand_clients_have_no_more_series_than_ten(start: Start) -> None:
    service = await start(limits={"max_connections": 1000})
    for number in range(10):
        await whole(service, number)
        await story(service, number)
    few = series()
    for number in range(10, 60):
        await whole(service, number)
    for first in range(60, 10_000, AT_ONCE):
        await asyncio.gather(*(story(service, number) for number in range(first, first + AT_ONCE)))
    assert series() == few
