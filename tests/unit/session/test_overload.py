"""A worker whose event loop lags turns strangers away before it asks anything about them, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from mailguard import metrics
from tests.unit.session.conftest import Service, Start


async def greeting(service: Service, address: str) -> bytes:
    async with await service.connect(address) as client:
        return (await client.reply())[0]


async def test_strangers_come_again_and_our_own_relays_get_in(start: Start) -> None:
    service = await start(own_relays=["203.0.113.1"])
    before = metrics.CONNECTIONS_REFUSED.labels("lag")._value.get()
    assert (await greeting(service, "198.18.6.1")).startswith(b"220 ")
    for now in (0.0, 10.0):
        service.worker._overload.measured(2.0, now)
    for address in ("198.18.6.1", "2001:db8::1"):
        assert (await greeting(service, address)).startswith(b"421 4.3.2 Too busy, try again later (")
    for address in ("203.0.113.1", "127.0.0.1", "::1"):
        assert (await greeting(service, address)).startswith(b"220 ")
    for now in (20.0, 30.0):
        service.worker._overload.measured(0.0, now)
    assert (await greeting(service, "198.18.6.1")).startswith(b"220 ")
    assert metrics.CONNECTIONS_REFUSED.labels("lag")._value.get() == before + 2


async def test_a_worker_measures_its_own_lag(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []
    service = await start(limits={"lag_interval": 0.01})
    monkeypatch.setattr(service.worker._overload, "measured", lambda lag, _now: measured.append(lag))
    async with asyncio.timeout(20):
        while len(measured) < 2:  # noqa: ASYNC110  it measures by itself
            await asyncio.sleep(0.01)
