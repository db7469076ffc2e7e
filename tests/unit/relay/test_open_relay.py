"""A backend that takes mail for anybody is found out, and not used."""

from __future__ import annotations

import time

import pytest

from mailguard import config
from mailguard.relay import OpenRelay, Relay
from tests.support.sink import CLOSE, Sink
from tests.unit.relay.conftest import ALICE, HOSTNAME, IDENTITY, PROMPT, SENDER


def relay(*sinks: Sink, relay_probe: bool = True) -> Relay:
    backends = [config.Backend(address=sink.address, relay_probe=relay_probe) for sink in sinks]
    return Relay(backends, config.Limits(**PROMPT), HOSTNAME, time.monotonic)


@pytest.fixture
def open_sink(sink: Sink) -> Sink:
    sink.on("RCPT", b"250 2.1.5 anybody is welcome")
    return sink


async def test_an_open_relay_is_named_with_what_to_do(open_sink: Sink) -> None:
    with pytest.raises(OpenRelay, match=f"{open_sink.address} is an open relay.*hosts_proxy.*relay_probe: false"):
        await relay(open_sink).refuse_open_relays()


async def test_the_probe_is_made_as_a_stranger_and_sends_nothing(open_sink: Sink) -> None:
    with pytest.raises(OpenRelay):
        await relay(open_sink).refuse_open_relays()
    await open_sink.seen("end")
    [connection] = open_sink.connections
    assert connection.proxied and (connection.proxied.command, connection.proxied.source) == ("PROXY", "192.0.2.1")
    assert connection.verbs == ["EHLO", "MAIL", "RCPT", "QUIT"]


async def test_a_backend_that_refuses_strangers_is_used(sink: Sink) -> None:
    checked = relay(sink)
    await checked.refuse_open_relays()
    assert (await checked.transaction(IDENTITY, SENDER).rcpt(ALICE)).code == 250


async def test_a_silent_backend_does_not_keep_us_from_starting_but_is_asked_when_found(open_sink: Sink) -> None:
    open_sink.once("connect", CLOSE)
    checked = relay(open_sink)
    await checked.refuse_open_relays()
    assert not await checked.probe()
    assert not checked.available
    assert not await checked.probe()
    assert not checked.available, "it answers, but is not used"
    assert str(await checked.transaction(IDENTITY, SENDER).rcpt(ALICE)).startswith("451 4.3.0")
    assert ALICE.encode() + b"\r\n" not in open_sink.commands


async def test_it_can_be_switched_off(open_sink: Sink) -> None:
    unchecked = relay(open_sink, relay_probe=False)
    await unchecked.refuse_open_relays()
    assert open_sink.commands == []
    assert (await unchecked.transaction(IDENTITY, SENDER).rcpt(ALICE)).code == 250
