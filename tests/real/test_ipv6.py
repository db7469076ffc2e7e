"""Clients by IPv6 before real servers: a /64 is one client, listed or not, and its bounds are shared."""

from __future__ import annotations

from contextlib import AsyncExitStack
from ipaddress import ip_address

from structlog.testing import capture_logs

from mailguard.lab import world
from mailguard.lab.exim import Exim
from tests.real.conftest import StartMailguard
from tests.support.client import Client
from tests.support.mail import mail, submit

ONE = world.CLEAN_V6
OTHER = str(ip_address(int(ONE[0]) + 2**80 + 1))
"""In another /64, of which no list knows anything either."""


async def test_connections_are_counted_by_64(start_mailguard: StartMailguard) -> None:
    service = await start_mailguard(limits={"max_connections_per_client": 2})
    async with AsyncExitStack() as stack:

        async def greeting(address: str) -> bytes:
            client: Client = await stack.enter_async_context(await service.connect(address))
            return (await client.reply())[0][:9]

        assert [(await greeting(str(ONE[n])))[:4] for n in (1, 2**60)] == [b"220 ", b"220 "]
        assert await greeting(str(ONE[3])) == b"421 4.7.0"
        assert (await greeting(OTHER))[:4] == b"220 "


async def test_backend_connections_are_counted_by_64(start_mailguard: StartMailguard) -> None:
    service = await start_mailguard(limits={"max_backend_connections_per_client": 1})
    async with AsyncExitStack() as stack:

        async def recipient(address: str) -> bytes:
            client: Client = await stack.enter_async_context(await service.connect(address))
            await client.reply()
            for line in (b"EHLO mail.example.org", b"MAIL FROM:<a@example.org>"):
                await client.command(line)
            return (await client.command(b"RCPT TO:<alice@example.com>"))[0][:9]

        assert (await recipient(str(ONE[1])))[:4] == b"250 "
        assert await recipient(str(ONE[2**60])) == b"451 4.7.0"
        assert (await recipient(OTHER))[:4] == b"250 "


async def test_a_listed_64_is_known_by_any_of_its_addresses(start_mailguard: StartMailguard, exim: Exim) -> None:
    """zen alone does not refuse; and Exim is told the client's own address."""
    service, message = await start_mailguard(), mail()
    address = str(ip_address(int(ip_address(world.LISTED_V6)) + 2**40))
    with capture_logs() as lines:
        async with await service.connect(address) as client:
            outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    [line] = [line for line in lines if line["event"] == "message"]
    assert (line["client"], line["dnsbl"][0]) == (address, "zen=127.0.0.4")
    [found] = exim.find(message.message_id, 30)
    assert f"host={address} ".encode() in found.read().replace(b"\n\t", b" ")
