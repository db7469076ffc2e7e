"""The whole mailguard with its default bounds, in a time that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.loops import VirtualLoop
from tests.unit.bounds.waiting import Connect, Patient
from tests.unit.session.conftest import Service, Start
from tests.unit.session.conftest import start as served

__all__ = ["served"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture
def start(served: Start) -> Start:
    """As there; but the loop's lag, which made-up time has none of, is measured as seldom as may be."""

    async def begin(*policy: str, limits: Mapping[str, Any] | None = None, **changes: Any) -> Service:
        return await served(*policy, limits={"lag_interval": 10, **(limits or {})}, **changes)

    return begin


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``await connect(service)``: a client; its greeting is not read yet."""
    clients: list[Client] = []

    async def connected(service: Service, *, proxied: bool = True) -> Patient:
        clients.append(await (service.connect() if proxied else Client.connect("127.0.0.1", service.worker.ports[0])))
        return Patient(clients[-1])

    yield connected
    for client in clients:
        await client.close()
