"""Connections that carry more than one message: only where no client is named, and never at a message's cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mailguard import metrics
from mailguard.facts import ClientAddress
from mailguard.relay import ClientGone
from tests.support.sink import CHUNKING, CLOSE, EXTENSIONS, RESET, Sink, Stall, Step
from tests.unit.relay.conftest import ALICE, BOB, IDENTITY, MESSAGE, Setup

NOBODY: Mapping[str, Any] = {"client_identity": "none"}
XCLIENT = (*EXTENSIONS, b"XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT")


@pytest.fixture
async def plain() -> AsyncIterator[Sink]:
    async with Sink(proxy=False, extensions=CHUNKING) as sink:
        yield sink


async def deliver(setup: Setup, times: int = 1) -> None:
    for _ in range(times):
        assert await setup.deliver(await setup.to()) == "250 2.0.0 taken"


async def test_one_connection_carries_ten_messages_and_no_more(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    await deliver(setup, 25)
    await setup.relay.finish()
    await plain.seen("end", 3)
    assert [len(connection.messages) for connection in plain.connections] == [10, 10, 5]
    assert [connection.verbs.count("EHLO") for connection in plain.connections] == [1, 1, 1]
    assert "RSET" not in plain.connections[0].verbs, "a transaction that ended needs none"
    assert all(connection.end == "quit" for connection in plain.connections)
    assert all(message.content == MESSAGE for message in plain.messages)


async def test_how_many_and_whether_are_settings(plain: Sink) -> None:
    await deliver(Setup(plain, settings=NOBODY, max_messages_per_backend_connection=2), 4)
    assert len(plain.connections) == 2
    await deliver(Setup(plain, settings=NOBODY, backend_reuse_timeout=0), 3)
    assert len(plain.connections) == 5


async def test_a_connection_of_a_named_client_is_never_used_again(sink: Sink) -> None:
    await deliver(Setup(sink), 3)
    assert [connection.proxied is not None and len(connection.messages) for connection in sink.connections] == [1] * 3
    async with Sink(proxy=False, extensions=XCLIENT) as other:
        await deliver(Setup(other, settings={"client_identity": "xclient"}), 3)
        assert [len(connection.messages) for connection in other.connections] == [1] * 3
        assert [connection.verbs.count("XCLIENT") for connection in other.connections] == [1] * 3


async def test_at_the_same_time_each_has_its_own(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    transactions = [await setup.to() for _ in range(3)]
    for transaction in transactions:
        assert await setup.deliver(transaction) == "250 2.0.0 taken"
    await deliver(setup, 3)
    assert len(plain.connections) == 3
    await setup.relay.finish()


async def test_unused_for_long_it_quits(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY, backend_reuse_timeout=0.02)
    await deliver(setup)
    await plain.seen("end")
    assert plain.connections[0].end == "quit"
    await deliver(setup)
    assert len(plain.connections) == 2


async def test_a_transaction_that_was_given_up_leaves_a_clean_connection(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    await (await setup.to(BOB)).abort()
    await deliver(setup)
    assert plain.connections[0].verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "BDAT"]
    assert plain.messages[0].rcpts == [ALICE.encode()]
    await setup.relay.finish()


async def test_a_refused_recipient_or_message_does_not_end_it(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    plain.once("RCPT", b"550 5.1.1 no")
    transaction = setup.transaction()
    assert (await transaction.rcpt(ALICE)).code == 550
    await transaction.abort()
    plain.once("content", b"550 5.7.1 spam")
    assert await setup.deliver(await setup.to()) == "550 5.7.1 spam"
    await deliver(setup)
    assert len(plain.connections) == 1
    await setup.relay.finish()


async def test_a_refused_mail_with_answers_on_their_way_does(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    plain.once("MAIL", b"550 5.7.1 no")
    assert (await setup.transaction().rcpt(ALICE)).code == 550
    await deliver(setup)
    assert len(plain.connections) == 2
    assert plain.messages[0].rcpts == [ALICE.encode()]


async def test_an_early_refusal_does(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    plain.mid_content(100_000, b"552 5.3.4 too big")
    assert await setup.deliver(await setup.to(), b"x" * 4_000_000) == "552 5.3.4 too big"
    await deliver(setup)
    assert len(plain.connections) == 2


async def test_a_client_that_left_in_the_middle_of_content_does(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    hold = Stall()
    plain.mid_content(1, hold)
    transaction = await setup.to()
    sending = asyncio.create_task(setup.deliver(transaction, b"x" * 4_000_000))
    await hold.reached.wait()
    await transaction.abort()
    with pytest.raises(ClientGone):
        await sending
    await deliver(setup)
    assert [len(connection.messages) for connection in plain.connections] == [0, 1]


# -- dead while it waited


async def test_a_restarted_backend_costs_nothing(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    await deliver(setup)
    await plain.stop()
    await plain.start()
    await deliver(setup)
    assert len(plain.messages) == 2


async def test_one_that_said_421_meanwhile_is_not_used(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    plain.once("content", b"250 2.0.0 taken", b"421 4.4.2 timeout", CLOSE)
    await deliver(setup)
    await plain.seen("end")
    await deliver(setup)
    assert [len(connection.messages) for connection in plain.connections] == [1, 1]


DEAD: list[tuple[str, tuple[Step, ...]]] = [
    ("MAIL", (CLOSE,)),
    ("MAIL", (RESET,)),
    ("MAIL", (b"421 4.4.2 timeout", CLOSE)),
    ("RCPT", (CLOSE,)),
    ("RSET", (b"421 4.7.0 enough", CLOSE)),
]


@pytest.mark.parametrize(("stage", "steps"), DEAD, ids=lambda value: str(value)[:24])
async def test_what_only_shows_at_the_first_command_is_replaced(
    plain: Sink, stage: str, steps: tuple[Step, ...]
) -> None:
    setup = Setup(plain, settings=NOBODY)
    transaction = await setup.to()
    if stage == "RSET":
        await transaction.abort()
    else:
        assert await setup.deliver(transaction) == "250 2.0.0 taken"
    plain.once(stage, *steps)
    await deliver(setup)
    assert len(plain.connections) == 2
    assert len(plain.messages) == 1 + (stage != "RSET")
    await setup.relay.finish()


async def test_all_that_waited_may_be_dead(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    for transaction in [await setup.to() for _ in range(3)]:
        await setup.deliver(transaction)
    for _ in range(3):
        plain.once("MAIL", CLOSE)
    await deliver(setup)
    assert len(plain.connections) == 4


async def test_a_new_one_that_fails_is_not_tried_again(plain: Sink) -> None:
    setup = Setup(plain, settings=NOBODY)
    plain.on("MAIL", CLOSE)
    assert (await setup.transaction().rcpt(ALICE)).code == 451
    assert len(plain.connections) == 1


# -- how many


async def test_no_more_connections_than_a_backend_may_have(sink: Sink, second: Sink) -> None:
    setup = Setup(sink, second, settings={"connections": 2})
    held = [await setup.to() for _ in range(3)]
    assert (len(sink.connections), len(second.connections)) == (2, 1)
    held.append(await setup.to())
    other = replace(IDENTITY, address=ClientAddress.parse("198.18.1.99"))
    refused = await setup.transaction(identity=other).rcpt(ALICE)
    assert refused.code == 451
    assert "all the connections that it may have" in refused.cause
    await held[0].abort()
    assert (await setup.transaction(identity=other).rcpt(ALICE)).code == 250
    assert await setup.deliver(held[1]) == "250 2.0.0 taken"
    await setup.to()


async def test_every_end_of_a_connection_is_counted(sink: Sink) -> None:
    setup = Setup(sink, settings={"connections": 1})
    sink.once("connect", CLOSE)
    assert (await setup.transaction().rcpt(ALICE)).code == 451
    sink.once("RCPT", CLOSE)
    assert (await setup.transaction().rcpt(ALICE)).code == 451
    sink.once("content", CLOSE)
    assert (await setup.deliver(await setup.to())).startswith("451")
    await deliver(setup, 2)


async def test_new_and_reused_are_counted(plain: Sink) -> None:
    def count(how: str) -> float:
        return float(metrics.BACKEND_CONNECTIONS.labels(plain.address, how)._value.get())

    before = count("new"), count("reused")
    setup = Setup(plain, settings=NOBODY)
    await deliver(setup, 5)
    assert (count("new") - before[0], count("reused") - before[1]) == (1, 4)
    await setup.relay.finish()
