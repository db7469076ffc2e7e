"""Real servers for tests, and mailguard before them.

``lab`` and its parts (``dns``, ``exim``, ``clamd``, ``spamd``) run for the whole session: a test must leave them as it
found them. ``own_lab`` is a test's own, to break and kill. ``start_mailguard`` starts the real service in the test's
event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailguard.config import Settings
from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import Exim
from mailguard.lab.settings import lab_settings
from mailguard.lab.spamd import Spamd
from mailguard.lab.unbound import Unbound
from mailguard.worker import Worker
from tests.support.client import Client, proxy_v2

_CLIENTS = world.MANY_CLEAN.hosts()
_IN_OUR_LOOP = {"max_loop_lag": 0}
"""Tests wait for processes in the loop that a mailguard of theirs runs in: how late that is says nothing of it."""


@dataclass(frozen=True)
class Service:
    """A running mailguard.

    Attributes:
        port: for clients that are what they are.
        proxy_port: for clients named by a PROXY header.
    """

    worker: Worker
    settings: Settings

    @property
    def port(self) -> int:
        return self.worker.ports[0]

    @property
    def proxy_port(self) -> int:
        return self.worker.ports[1]

    @property
    def admin_port(self) -> int:
        return self.worker.admin_port

    async def connect(self, address: str) -> Client:
        """A connection of the client ``address``; the greeting is not read yet."""
        return await Client.connect("127.0.0.1", self.proxy_port, proxy=proxy_v2(address))


StartMailguard = Callable[..., Awaitable[Service]]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The session's servers, each started when first asked for."""
    with Lab() as servers:
        yield servers


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """Servers of one test alone."""
    with Lab() as servers:
        yield servers


@pytest.fixture(scope="session")
def dns(lab: Lab) -> Unbound:
    return lab.dns()


@pytest.fixture(scope="session")
def exim(lab: Lab) -> Exim:
    return lab.exim()


@pytest.fixture(scope="session")
def clamd(lab: Lab) -> Clamd:
    return lab.clamd()


@pytest.fixture(scope="session")
def spamd(lab: Lab) -> Spamd:
    return lab.spamd()


@pytest.fixture
def client_address() -> str:
    """A clean client that no test used before."""
    return str(next(_CLIENTS))


@pytest.fixture
async def start_mailguard(lab: Lab) -> AsyncIterator[StartMailguard]:
    """``await start_mailguard(servers=..., policy=..., **settings)``: a mailguard that ends with the test."""
    running: list[Worker] = []

    async def start(servers: Lab = lab, policy: Path | None = None, **changes: Any) -> Service:
        limits = {**_IN_OUR_LOOP, **changes.pop("limits", {})}
        settings = lab_settings(servers, policy, limits=limits, **changes)
        worker = Worker(settings)
        await worker.start()
        running.append(worker)
        return Service(worker, settings)

    yield start
    for worker in running:
        await worker.stop()


@pytest.fixture
async def mailguard(start_mailguard: StartMailguard) -> Service:
    """mailguard with its default policy before the session's servers."""
    return await start_mailguard()


@pytest.fixture
def addresses() -> Iterator[str]:
    """A fresh clean client address for every connection, over and over."""

    def endless() -> Iterator[str]:
        while True:
            yield from (str(address) for address in world.CLEAN.hosts())

    return endless()
