"""The relay before recording sinks, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from mailguard import config
from mailguard.commands import MailFrom, Parameter, Path, RcptTo
from mailguard.facts import ClientAddress
from mailguard.relay import Identity, Relay, Transaction
from mailguard.spool import Content, Spool
from tests.support.loops import LOOPS
from tests.support.sink import EXTENSIONS, Sink

IDENTITY = Identity(
    ClientAddress.parse("198.18.1.10"), 40000, ClientAddress.parse("127.0.0.1"), 25, "client.example.org"
)
HOSTNAME = "mx.example.com"
PROMPT = {"backend_connect_timeout": 30.0, "backend_reply_timeout": 30.0, "backend_final_timeout": 30.0}
"""Bounds that only a test that waits for them reaches."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


def mail_from(address: str, **parameters: bytes | None) -> MailFrom:
    local, _, domain = address.encode().partition(b"@")
    return MailFrom(Path(local, domain), tuple(Parameter(k, v) for k, v in parameters.items()))


def rcpt_to(address: str) -> RcptTo:
    local, _, domain = address.encode().partition(b"@")
    return RcptTo(Path(local, domain))


SENDER = mail_from("sender@example.org")
ALICE, BOB, CAROL = (rcpt_to(f"{name}@example.com") for name in ("alice", "bob", "carol"))
MESSAGE = b"From: sender@example.org\r\nSubject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n"


def spooled(octets: bytes) -> Content:
    spool = Spool(1 << 20)
    spool.write(octets)
    return spool.finish()


class Setup:
    """A relay to ``sinks``, asked in this order, and what tests ask of it; ``gone`` is the client's event.

    ``settings``: of every backend; where the first sink has a certificate, TLS is required unless they say otherwise.
    """

    def __init__(
        self, *sinks: Sink, proxy: bool = True, settings: Mapping[str, Any] | None = None, **limits: Any
    ) -> None:
        encrypted = {"tls": "required"} if sinks[0].tls else {}
        common = {"client_identity": "proxy" if proxy else "none"} | encrypted | dict(settings or {})
        backends = [
            config.Backend.model_validate({"address": sink.address, "priority": place} | common)
            for place, sink in enumerate(sinks)
        ]
        self.relay = Relay(backends, config.Limits(**(PROMPT | limits)), HOSTNAME, time.monotonic)
        self.gone = asyncio.Event()

    def transaction(self, mail: MailFrom = SENDER, identity: Identity = IDENTITY) -> Transaction:
        return self.relay.transaction(identity, mail)

    async def to(self, *recipients: RcptTo, mail: MailFrom = SENDER) -> Transaction:
        """A transaction whose recipients were all taken."""
        transaction = self.transaction(mail)
        for recipient in recipients or (ALICE,):
            assert (await transaction.rcpt(recipient)).code == 250
        return transaction

    async def deliver(self, transaction: Transaction, octets: bytes = MESSAGE) -> str:
        """Our final reply, as text."""
        with spooled(octets) as content:
            return str(await transaction.deliver(content, self.gone))


@pytest.fixture
def extensions() -> tuple[bytes, ...]:
    """What sinks offer; a module that wants other ones has a fixture of its own."""
    return EXTENSIONS


@pytest.fixture
def tls() -> ssl.SSLContext | None:
    """The certificate of sinks; a module that wants one has a fixture of its own."""
    return None


@pytest.fixture
async def sink(extensions: tuple[bytes, ...], tls: ssl.SSLContext | None) -> AsyncIterator[Sink]:
    async with Sink(extensions=extensions, tls=tls) as sink:
        yield sink


@pytest.fixture
async def second(extensions: tuple[bytes, ...], tls: ssl.SSLContext | None) -> AsyncIterator[Sink]:
    async with Sink(extensions=extensions, tls=tls) as sink:
        yield sink


@pytest.fixture
async def setup(sink: Sink) -> Setup:
    return Setup(sink)


@pytest.fixture
async def both(sink: Sink, second: Sink) -> Setup:
    return Setup(sink, second)
