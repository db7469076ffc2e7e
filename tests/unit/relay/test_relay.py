"""The backends together: what is offered, who is asked, who is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailguard import config, metrics
from mailguard.commands import Extensions
from mailguard.relay import Relay
from tests.support.sink import CLOSE, Sink, Stall, Step
from tests.unit.relay.conftest import ALICE, HOSTNAME, IDENTITY, PROMPT, SENDER, Setup


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def relay(*addresses: str, clock: Clock | None = None, proxy: bool = True, **limits: Any) -> Relay:
    backends = [
        config.Backend(address=address, client_identity="proxy" if proxy else "none", relay_probe=False)
        for address in addresses
    ]
    return Relay(backends, config.Limits(**(PROMPT | limits)), HOSTNAME, clock or Clock())


@contextlib.asynccontextmanager
async def sinks(*extensions: tuple[bytes, ...]) -> AsyncIterator[list[Sink]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Sink(extensions=offered)) for offered in extensions]


# -- extensions


MAXIMUM = config.Limits().max_message_size
OFFERS = [
    ([(b"8BITMIME", b"SMTPUTF8", b"SIZE 1000")], Extensions(1000, True, True)),
    ([(b"8BITMIME",)], Extensions(MAXIMUM, True, False)),
    ([()], Extensions(MAXIMUM)),
    ([(b"SIZE 0", b"8BITMIME")], Extensions(MAXIMUM, True)),
    ([(b"SIZE 99999999999",)], Extensions(MAXIMUM)),
    ([(b"DSN", b"8BITMIME"), (b"dsn",)], Extensions(MAXIMUM, dsn=True)),
    ([(b"DSN",), (b"8BITMIME",)], Extensions(MAXIMUM)),
    ([(b"8BITMIME", b"SIZE 3000"), (b"8BITMIME", b"SMTPUTF8", b"SIZE 2000")], Extensions(2000, True, False)),
]


@pytest.mark.parametrize(("offers", "together"), OFFERS)
async def test_what_all_offer_is_offered(offers: list[tuple[bytes, ...]], together: Extensions) -> None:
    async with sinks(*offers) as backends:
        several = relay(*(backend.address for backend in backends))
        assert several.extensions == Extensions(MAXIMUM)
        assert await several.probe()
        assert several.extensions == together


async def test_one_that_was_never_seen_may_not_have_it(sink: Sink, second: Sink) -> None:
    await second.stop()
    several = relay(sink.address, second.address)
    assert await several.probe()
    assert several.extensions == Extensions(MAXIMUM)
    assert several.available


async def test_one_that_went_away_still_counts_as_last_seen(sink: Sink) -> None:
    one = relay(sink.address)
    await one.probe()
    before = one.extensions
    await sink.stop()
    assert not await one.probe()
    assert one.extensions == before != Extensions(MAXIMUM)


async def test_a_transaction_sees_the_offer_too(sink: Sink) -> None:
    one = relay(sink.address)
    await one.transaction(IDENTITY, SENDER).rcpt(ALICE)
    assert one.extensions.eightbitmime


# -- probes


@pytest.mark.parametrize("proxy", [True, False])
async def test_a_probe_greets_under_our_name_and_quits(proxy: bool) -> None:
    async with Sink(proxy=proxy) as sink:
        assert await relay(sink.address, proxy=proxy).probe()
        await sink.seen("end")
        assert sink.commands == [b"EHLO mx.example.com\r\n", b"QUIT\r\n"]
        proxied = sink.connections[0].proxied
        assert (proxied.command if proxied else None) == ("LOCAL" if proxy else None)


async def test_nobody_is_available_before_the_first_probe(sink: Sink) -> None:
    one = relay(sink.address)
    assert not one.available
    await one.probe()
    assert one.available
    await sink.stop()
    await one.probe()
    assert not one.available


async def test_watching_finds_a_backend_that_came_back(sink: Sink) -> None:
    await sink.stop()
    one = relay(sink.address, backend_retry=0.01)
    watching = asyncio.create_task(one.watches[0]())
    await asyncio.sleep(0)
    await sink.start()
    await sink.seen("EHLO")
    async with asyncio.timeout(20):
        while not one.available:  # noqa: ASYNC110 - the relay tells nobody
            await asyncio.sleep(0.01)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


# -- the breaker


async def refused(one: Relay) -> str:
    reply = await one.transaction(IDENTITY, SENDER).rcpt(ALICE)
    assert reply.code == 451
    return reply.cause


async def test_a_dead_backend_is_left_alone_after_three_failures_and_tried_after_a_pause(sink: Sink) -> None:
    await sink.stop()
    clock = Clock()
    one = relay(sink.address, clock=clock)
    up = metrics.BACKEND_UP.labels(sink.address)
    for _ in range(3):
        assert "left alone" not in await refused(one)
    assert "left alone" in await refused(one)
    assert up._value.get() == 0
    await sink.start()
    assert "left alone" in await refused(one)
    clock.now += 30
    assert (await one.transaction(IDENTITY, SENDER).rcpt(ALICE)).code == 250
    assert up._value.get() == 1


async def test_a_probe_closes_the_breaker_at_once(sink: Sink) -> None:
    await sink.stop()
    one = relay(sink.address)
    for _ in range(4):
        await refused(one)
    await sink.start()
    assert await one.probe()
    assert (await one.transaction(IDENTITY, SENDER).rcpt(ALICE)).code == 250


@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        ("connect", (b"421 4.7.0 too many connections", CLOSE)),
        ("connect", (CLOSE,)),
        ("connect", (b"554 5.7.1 you are listed",)),
        ("EHLO", (b"550 5.7.1 what a name",)),
        ("RCPT", (CLOSE,)),
    ],
)
async def test_what_may_be_one_clients_fault_shuts_nobody_out(sink: Sink, stage: str, steps: tuple[Step, ...]) -> None:
    one = relay(sink.address)
    sink.on(stage, *steps)
    for _ in range(5):
        assert "left alone" not in await refused(one)
    sink.on(stage, {"connect": b"220 sink", "EHLO": b"250 sink", "RCPT": b"250 ok"}[stage])
    assert (await one.transaction(IDENTITY, SENDER).rcpt(ALICE)).code == 250


async def test_a_slow_greeting_of_one_client_does_not_but_of_a_probe_does(sink: Sink) -> None:
    """Exim looks the client's name up before it greets: one whose reverse zone is slow must not shut others out."""
    sink.on("connect", Stall())
    one = relay(sink.address, backend_reply_timeout=0.05, backend_connect_timeout=0.5)
    for _ in range(5):
        assert "left alone" not in await refused(one)
    for _ in range(3):
        assert not await one.probe()
    assert "left alone" in await refused(one)


# -- numbers


COUNTED = {
    ("connect", "2"): 2,
    ("helo", "2"): 2,
    ("mail", "2"): 2,
    ("rcpt", "2"): 2,
    ("rcpt", "5"): 1,
    ("data", "3"): 2,
    ("content", "2"): 1,
    ("content", "lost"): 1,
}


async def test_replies_are_counted_by_class(sink: Sink) -> None:
    def count(command: str, class_: str) -> float:
        return float(metrics.BACKEND_REPLIES.labels(sink.address, command, class_)._value.get())

    before = {key: count(*key) for key in COUNTED}
    setup = Setup(sink)
    sink.once("RCPT", b"250 ok")
    sink.once("RCPT", b"550 no")
    transaction = await setup.to(ALICE)
    await transaction.rcpt(ALICE)
    await setup.deliver(transaction)
    sink.on("content", CLOSE)
    await setup.deliver(await setup.to(ALICE))
    assert {key: count(*key) - before[key] for key in COUNTED} == COUNTED


async def test_replays_are_counted(sink: Sink, second: Sink) -> None:
    def count(result: str) -> float:
        return float(metrics.BACKEND_REPLAYS.labels(result)._value.get())

    before = {result: count(result) for result in ("ok", "refused", "failed")}
    both = Setup(sink, second)
    first, other, third = [await both.to(ALICE) for _ in range(3)]
    await sink.stop()
    await both.deliver(first)
    second.once("RCPT", b"550 no")
    await both.deliver(other)
    await second.stop()
    await both.deliver(third)
    assert {result: count(result) - before[result] for result in before} == {"ok": 1, "refused": 1, "failed": 1}
