"""A real listener on loopback before a recording story, on both event loops."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from mailguard import log
from mailguard.config import Listener, Settings
from mailguard.net.wire import Wire
from mailguard.smtp.admission import Slots
from mailguard.smtp.identity import Identity
from mailguard.smtp.listener import SmtpListener, listen
from tests.support.client import Client
from tests.support.loops import LOOPS
from tests.support.story import DOMAIN, HOSTNAME, RecordingStory


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


def settings(**limits: Any) -> Settings:
    return Settings.model_validate(
        {
            "hostname": HOSTNAME,
            "relay_domains": [DOMAIN],
            "listen": [{"address": "127.0.0.1:0"}],
            "backends": [{"address": "127.0.0.1:1"}],
            "policy": "policy.yaml",
            "limits": {"close_timeout": 0.5} | limits,
        }
    )


class Server:
    """Listeners whose connections get stories that ``make`` makes; ``stories`` holds them; ``begun``: one has begun."""

    def __init__(self) -> None:
        self.stories: list[RecordingStory] = []
        self.listeners: list[SmtpListener] = []
        self.begun = asyncio.Event()
        self.make: Callable[[], RecordingStory] = RecordingStory

    def _story(self) -> RecordingStory:
        self.stories.append(self.make())
        self.begun.set()
        return self.stories[-1]

    async def start(
        self,
        *,
        proxy_from: tuple[str, ...] = (),
        xclient_from: tuple[str, ...] = (),
        starttls: bool = True,
        host: str = "127.0.0.1",
        slots: Slots | None = None,
        identity: Identity | None = None,
        **limits: Any,
    ) -> SmtpListener:
        config = {"proxy_protocol_from": proxy_from, "xclient_from": xclient_from, "starttls": starttls}
        listener = Listener.model_validate({"address": f"{host}:0", **config})
        self.listeners.append(await listen(settings(**limits), listener, self._story, slots, identity))
        return self.listeners[-1]

    async def connect(self, *, proxy: bytes = b"", greeted: bool = True) -> Client:
        """A client of the first listener, its greeting read."""
        client = await Client.connect("127.0.0.1", self.listeners[0].port, proxy=proxy)
        if greeted:
            assert (await client.reply())[0].startswith(b"220 ")
        return client

    async def in_transaction(self) -> Client:
        """A client whose MAIL and RCPT were taken."""
        client = await self.connect()
        for line in (b"EHLO client.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:<u@example.com>"):
            assert await client.code(line) == 250
        return client


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    for listener in made.listeners:
        async with asyncio.timeout(20):
            await listener.close()


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    """The service's own log format: structlog's default draws tracebacks, which takes a second each."""
    log.configure("logfmt", "debug")
    yield
    structlog.reset_defaults()


@pytest.fixture
def none_left() -> Iterator[Callable[[], Awaitable[None]]]:
    """Waits until no connection is left in memory, where none is collected: one that refers to itself stays."""

    async def wait() -> None:
        async with asyncio.timeout(20):
            while any(isinstance(each, Wire) for each in gc.get_objects()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    gc.collect()
    gc.disable()
    yield wait
    gc.enable()
