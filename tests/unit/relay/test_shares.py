"""A few clients cannot take all that a backend serves: shares, and letting go while a client is silent."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mailguard.facts import ClientAddress
from mailguard.relay import ClientGone
from mailguard.relay.shares import Shares
from tests.support.sink import CLOSE, Sink
from tests.unit.relay.conftest import ALICE, BOB, IDENTITY, Setup


def test_a_share_is_by_ipv4_address_and_ipv6_64() -> None:
    shares = Shares(1)
    assert shares.take(ClientAddress.parse("198.18.1.1"))
    assert not shares.take(ClientAddress.parse("::ffff:198.18.1.1"))
    assert shares.take(ClientAddress.parse("198.18.1.2"))
    assert shares.take(ClientAddress.parse("2001:2::1"))
    assert not shares.take(ClientAddress.parse("2001:2::ffff"))
    shares.give_back(ClientAddress.parse("198.18.1.1"))
    assert shares.take(ClientAddress.parse("198.18.1.1"))


async def test_a_client_with_its_share_is_deferred_and_others_are_not(sink: Sink) -> None:
    setup = Setup(sink, max_backend_connections_per_client=2)
    first, _second = await setup.to(ALICE), await setup.to(ALICE)
    assert str(await setup.transaction().rcpt(ALICE)).startswith("451 4.7.0 Too many messages at a time")
    other = replace(IDENTITY, address=ClientAddress.parse("198.18.1.11"))
    assert (await setup.transaction(identity=other).rcpt(ALICE)).code == 250
    await first.abort()
    assert (await setup.transaction().rcpt(ALICE)).code == 250


async def test_every_end_gives_the_share_back(sink: Sink) -> None:
    setup = Setup(sink, max_backend_connections_per_client=1)
    assert (await setup.deliver(await setup.to(ALICE))).startswith("250")
    sink.once("MAIL", b"550 5.7.1 no")
    assert (await setup.transaction().rcpt(ALICE)).code == 550
    sink.once("connect", CLOSE)
    assert (await setup.transaction().rcpt(ALICE)).code == 451
    sink.once("content", CLOSE)
    assert (await setup.deliver(await setup.to(ALICE))).startswith("451")
    setup.gone.set()
    with pytest.raises(ClientGone):
        await setup.deliver(await setup.to(ALICE))
    setup.gone.clear()
    assert (await setup.deliver(await setup.to(ALICE))).startswith("250")


async def test_while_the_client_is_silent_the_backend_is_let_go_and_told_again(sink: Sink) -> None:
    setup = Setup(sink, max_backend_connections_per_client=1, backend_idle_timeout=0.05)
    transaction = await setup.to(ALICE)
    await sink.seen("end")
    assert (await setup.transaction().rcpt(BOB)).code == 250, "its share is free meanwhile"
    await sink.seen("end", 2)
    assert (await transaction.rcpt(BOB)).code == 250
    await sink.seen("end", 3)
    assert (await setup.deliver(transaction)).startswith("250")
    [message] = sink.messages
    assert message.rcpts == [ALICE.encode(), BOB.encode()]


async def test_who_speaks_in_time_keeps_the_connection(sink: Sink) -> None:
    setup = Setup(sink, backend_idle_timeout=5.0)
    transaction = await setup.to(ALICE)
    await asyncio.sleep(0.05)
    assert (await transaction.rcpt(BOB)).code == 250
    assert (await setup.deliver(transaction)).startswith("250")
    assert len(sink.connections) == 1
